import { readFile } from 'node:fs/promises'
import { textPath } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import { jsonObject } from '../../util/is-object.ts'

/** How a token of another identity provider is exchanged for one of Google. */
export interface TokenExchange {
  readonly tokenUrl: string
  /** The body of the request; contains the token of the other provider. */
  readonly form: URLSearchParams
  /** For messages. */
  readonly tokenFile: string
}

/**
 * Reads the credential file of an external account, as `gcloud iam workload-identity-pools create-cred-config` writes
 * it, and the token that it names. Both are read for each exchange, because Kubernetes replaces the token.
 *
 * @see https://google.aip.dev/auth/4117
 */
export async function readTokenExchange(path: string, option: string, scope: string): Promise<TokenExchange> {
  const invalid = (message: string) =>
    new PgtsError('file-invalid', message, {
      hints: [
        `create the file with gcloud iam workload-identity-pools create-cred-config --credential-source-file=..., and name it in ${option}`,
      ],
    })
  const account = jsonObject(await read(path, `set ${option} to the path of the credential file`))
  if (account === undefined) throw invalid(`${path} is not JSON`)
  const { type, audience, subject_token_type: tokenType, token_url: tokenUrl = DEFAULT_TOKEN_URL } = account
  if (type !== 'external_account' || typeof audience !== 'string' || typeof tokenType !== 'string')
    throw invalid(`${path} is not the credential file of an external account`)
  if (typeof tokenUrl !== 'string' || !/^https?:/.test(tokenUrl) || !URL.canParse(tokenUrl))
    throw invalid(`token_url in ${path} is not a URL`)
  if (account['service_account_impersonation_url'] !== undefined)
    throw new PgtsError('feature-not-supported', `${path} asks for the impersonation of a service account`, {
      hints: ['create the file without --service-account, and grant the permissions to the identity itself'],
    })
  const { file, format } = (account['credential_source'] ?? {}) as { file?: unknown; format?: { type?: unknown } }
  if (typeof file !== 'string') throw invalid(`${path} names no token file in credential_source`)
  if (format?.type !== undefined && format.type !== 'text')
    throw new PgtsError('feature-not-supported', `${path} has a token file that is not text`, {
      hints: ['create the file with --credential-source-type=text'],
    })
  const token = (await read(file, 'check that the token is mounted, and readable for this user')).trim()
  if (token === '') throw new PgtsError('file-invalid', `the token file ${file} is empty`)
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience,
    scope,
    subject_token_type: tokenType,
    subject_token: token,
  })
  return { tokenUrl, form, tokenFile: file }
}

const DEFAULT_TOKEN_URL = 'https://sts.googleapis.com/v1/token'

async function read(path: string, hint: string): Promise<string> {
  try {
    return await readFile(textPath(path), 'utf8')
  } catch (cause) {
    throw new PgtsError('file-open', `cannot read ${path}: ${messageOf(cause)}`, { hints: [hint], cause })
  }
}
