import { PgtsError } from '../../../util/error.ts'
import type { HttpAccess } from '../../http/agents.ts'
import { StoreTrouble } from '../../object/trouble.ts'
import type { S3Keys } from '../description.ts'
import { errorElement, refusalOf } from '../refusal.ts'
import { canonicalQuery } from '../sign.ts'
import { childOf, parseXml, textOf, type XmlElement } from '../xml.ts'
import { askOnce } from './ask.ts'
import { readToken } from './container.ts'
import { withExpiry, type FetchKeys } from './source.ts'

/**
 * Keys of a role, in exchange for the token that an identity provider (of a Kubernetes cluster, say) gave.
 * @see https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
 */
export function webIdentityKeys(keys: S3Keys & { type: 'web-id' }, access: HttpAccess): FetchKeys {
  const from = `the token service ${keys.stsUrl}`
  return async () => {
    // In the body, not in the URL: that is what proxies and servers write into their logs.
    const body = canonicalQuery([
      ['Action', 'AssumeRoleWithWebIdentity'],
      ['RoleArn', keys.role],
      ['RoleSessionName', 'pgts'],
      ['Version', '2011-06-15'],
      ['WebIdentityToken', await readToken(keys.tokenFile)],
    ])
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const url = `${keys.stsUrl}/`
    const { status, text } = await askOnce({ method: 'POST', url, headers, body }, from, access)
    const answer = tryParse(text)
    if (status !== 200) throw refused(status, answer, from, keys.role)
    const found = childOf(childOf(answer, 'AssumeRoleWithWebIdentityResult'), 'Credentials')
    const [id, secret] = [textOf(found, 'AccessKeyId'), textOf(found, 'SecretAccessKey')]
    if (id === undefined || secret === undefined) throw new PgtsError('format', `${from} did not answer with keys`)
    return withExpiry({ id, secret }, textOf(found, 'SessionToken'), textOf(found, 'Expiration'), from)
  }
}

function tryParse(text: string): XmlElement | undefined {
  try {
    return parseXml(text)
  } catch {
    // The status says what there is to say.
    return undefined
  }
}

function refused(status: number, answer: XmlElement | undefined, from: string, role: string): PgtsError {
  const { code, message } = refusalOf(status, answer && errorElement(answer))
  const said = `${from} gives no keys for ${role}: ${code === '' ? `HTTP status ${status}` : `${code}: ${message}`}`
  if (status >= 500 || status === 429) return new StoreTrouble(said)
  return new PgtsError('access', said, { hints: ['check AWS_ROLE_ARN, and whom the trust policy of that role trusts'] })
}
