import { readFile } from 'node:fs/promises'
import { PgtsError } from '../../../util/error.ts'
import type { HttpAccess } from '../../http/agents.ts'
import { RefusedRequestError, RetryableStoreError } from '../../object/retryable-error.ts'
import type { S3Keys } from '../description.ts'
import { askOnce } from './ask.ts'
import { keysFromJson } from './fetched-keys.ts'
import { type FetchKeys } from './fetched-keys.ts'

/**
 * Credentials of the role of a container or pod, from the URL that the platform provides.
 * @see https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
 */
export function containerKeys(keys: S3Keys & { type: 'container' }, access: HttpAccess): FetchKeys {
  const from = `the role service ${keys.url}`
  return async () => {
    // The platform renews the file while the process runs.
    const token = keys.tokenFile === undefined ? keys.token : await readToken(keys.tokenFile)
    const headers: Record<string, string> = token === undefined ? {} : { authorization: token }
    const { status, text } = await askOnce({ method: 'GET', url: keys.url, headers }, from, access)
    if (status === 200) return keysFromJson(text, from)
    const message = `${from} answered with HTTP status ${status}`
    throw status >= 500 || status === 429
      ? new RetryableStoreError(message)
      : new RefusedRequestError('access', message)
  }
}

export async function readToken(path: string): Promise<string> {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('file-open', `cannot read the token of this container in ${path}: ${why}`, {
      cause,
    })
  })
  return text.trim()
}
