import { RefusedRequestError, RetryableStoreError } from '../../object/retryable-error.ts'
import type { S3Keys } from '../description.ts'
import { askOnce } from './ask.ts'
import { keysFromJson } from './fetched-keys.ts'
import { type FetchKeys } from './fetched-keys.ts'

/** Long enough for the two following requests; the token is not kept. */
const TOKEN_SECONDS = '300'

/**
 * Credentials of the role of this machine, from its metadata service.
 * @see https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
 */
export function instanceKeys(keys: S3Keys & { type: 'instance' }, repository: string): FetchKeys {
  const from = `the metadata service ${keys.metadata}`
  const roles = `${keys.metadata}/latest/meta-data/iam/security-credentials/`
  return async () => {
    const token = await sessionToken(keys.metadata, from)
    const headers: Record<string, string> = token === undefined ? {} : { 'x-aws-ec2-metadata-token': token }
    const get = (url: string, absent: string, hint: string) => answerOf(url, headers, from, absent, hint)
    const role = keys.role ?? roleIn(await get(roles, 'this machine has no role', 'attach an IAM role to it'), from)
    const hint = `check ${repository}-s3-role, and that an IAM role is attached to this machine`
    return keysFromJson(await get(roles + encodeURIComponent(role), `this machine has no role ${role}`, hint), from)
  }
}

/** A session token of version 2 of the service; version 1, used by some other clouds, has none. */
async function sessionToken(metadata: string, from: string): Promise<string | undefined> {
  const headers = { 'x-aws-ec2-metadata-token-ttl-seconds': TOKEN_SECONDS, 'content-length': '0' }
  const { status, text } = await askOnce({ method: 'PUT', url: `${metadata}/latest/api/token`, headers }, from)
  if (status !== 200) return undefined
  const token = text.trim()
  if (/^[\w+/=.~-]+$/.test(token)) return token
  throw new RetryableStoreError(`${from} did not answer with a token: check for a proxy between this host and it`)
}

/** The first role in a list with one role a line. */
function roleIn(text: string, from: string): string {
  const role = text.split('\n', 1)[0]?.trim() ?? ''
  if (/^[\w+=,.@-]+$/.test(role)) return role
  throw new RetryableStoreError(`${from} returned no name of a role`)
}

async function answerOf(url: string, headers: Record<string, string>, from: string, absent: string, hint: string) {
  const { status, text } = await askOnce({ method: 'GET', url, headers }, from)
  if (status === 200) return text
  if (status === 404) throw new RefusedRequestError('service', `${from} reports that ${absent}`, { hints: [hint] })
  const message = `${from} answered with HTTP status ${status}`
  throw status >= 500 || status === 429 ? new RetryableStoreError(message) : new RefusedRequestError('service', message)
}
