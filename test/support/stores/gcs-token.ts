import { createVerify, generateKeyPairSync, randomBytes } from 'node:crypto'
import { GcsRefusal } from './gcs-refusal.ts'

/** The token endpoint of Google's clients; a key file may name another one, and both are accepted. */
const GOOGLE_TOKEN_URLS = ['https://oauth2.googleapis.com/token', 'https://www.googleapis.com/oauth2/v4/token']
const SCOPES = [
  'https://www.googleapis.com/auth/devstorage.read_only',
  'https://www.googleapis.com/auth/devstorage.read_write',
  'https://www.googleapis.com/auth/devstorage.full_control',
  'https://www.googleapis.com/auth/cloud-platform',
]
const CLOCK_SKEW_S = 300
const JWT = 'urn:ietf:params:oauth:token-type:jwt'

/** Issues access tokens to a service account that can sign with its key. */
export class GcsTokens {
  readonly account = 'pgts@test.iam.gserviceaccount.com'
  readonly #keys = generateKeyPairSync('rsa', { modulusLength: 2048 })
  /** Expiry of each token. */
  readonly #good = new Map<string, number>()
  /** Number of issued tokens. */
  issued = 0
  lifetimeMs = 3_600_000
  /** The token of another identity provider that can be exchanged for an access token. */
  subject = ''
  readonly audience = '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/test/providers/kubernetes'

  /** The file that Google gives for a service account. */
  keyFile(tokenUri: string): string {
    return JSON.stringify(
      {
        type: 'service_account',
        project_id: 'test',
        private_key_id: 'only-for-tests',
        private_key: this.#keys.privateKey.export({ type: 'pkcs8', format: 'pem' }),
        client_email: this.account,
        client_id: '1',
        token_uri: tokenUri,
      },
      undefined,
      2,
    )
  }

  /** The file that Google gives for an external account whose token is in a file. */
  externalAccount(tokenUrl: string, file: string): Record<string, unknown> {
    return {
      type: 'external_account',
      audience: this.audience,
      subject_token_type: JWT,
      token_url: tokenUrl,
      credential_source: { file, format: { type: 'text' } },
      universe_domain: 'googleapis.com',
    }
  }

  issue(): { access_token: string; expires_in: number; token_type: 'Bearer' } {
    const token = `ya29.${randomBytes(24).toString('base64url')}`
    this.#good.set(token, Date.now() + this.lifetimeMs)
    this.issued++
    return { access_token: token, expires_in: Math.floor(this.lifetimeMs / 1000), token_type: 'Bearer' }
  }

  /** Revoke all issued tokens. */
  revokeAll(): void {
    this.#good.clear()
  }

  /** Answer a request for a token: its assertion must be signed with the account's key, for this endpoint, and not expired. */
  grant(form: URLSearchParams, tokenUri: string): ReturnType<GcsTokens['issue']> {
    const refuse = (why: string) => new GcsRefusal(400, 'invalid_grant', why)
    if (form.get('grant_type') === 'urn:ietf:params:oauth:grant-type:token-exchange') {
      if (form.get('audience') !== this.audience) throw refuse('the audience is unknown')
      if (form.get('requested_token_type') !== 'urn:ietf:params:oauth:token-type:access_token')
        throw refuse('requested_token_type is wrong')
      if (!SCOPES.includes(form.get('scope') ?? '')) throw refuse('scope does not include storage')
      if (form.get('subject_token_type') !== JWT || form.get('subject_token') !== this.subject || this.subject === '')
        throw refuse('The subject token is not valid.')
      return this.issue()
    }
    if (form.get('grant_type') !== 'urn:ietf:params:oauth:grant-type:jwt-bearer') throw refuse('grant_type is wrong')
    const [header = '', claims = '', signature = ''] = (form.get('assertion') ?? '').split('.')
    const signed = createVerify('RSA-SHA256').update(`${header}.${claims}`)
    if (!signed.verify(this.#keys.publicKey, Buffer.from(signature, 'base64url')))
      throw refuse('Invalid JWT Signature.')
    const { alg } = decoded(header)
    if (alg !== 'RS256') throw refuse('alg is not RS256')
    const { iss, aud, scope, iat, exp } = decoded(claims)
    if (iss !== this.account) throw refuse('iss is not the account')
    // pgbackrest's Host header names no port.
    const audience = tokenUri.includes(':', 8) ? String(aud) : String(aud).replace(/:\d+(?=\/)/, '')
    if (![tokenUri, ...GOOGLE_TOKEN_URLS].includes(audience)) throw refuse('aud is not the token endpoint')
    if (!SCOPES.some((known) => String(scope).split(' ').includes(known)))
      throw refuse('scope does not include storage')
    const nowS = Date.now() / 1000
    if (typeof iat !== 'number' || typeof exp !== 'number') throw refuse('iat and exp have to be numbers')
    if (iat > nowS + CLOCK_SKEW_S || exp < nowS || exp - iat > 3600) throw refuse('the assertion is not for now')
    return this.issue()
  }

  /** Refuses a request without a token, or with an unknown or expired one. */
  check(authorization: string | undefined): void {
    const token = /^Bearer (.+)$/.exec(authorization ?? '')?.[1]
    if (token === undefined)
      throw new GcsRefusal(401, 'required', 'Anonymous caller does not have storage.objects access.')
    if ((this.#good.get(token) ?? 0) < Date.now()) throw new GcsRefusal(401, 'authError', 'Invalid Credentials')
  }
}

function decoded(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>
}
