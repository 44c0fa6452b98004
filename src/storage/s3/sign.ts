import { createHash, createHmac } from 'node:crypto'
import { uriEncode } from './uri-encode.ts'

/** Keys as the service knows them; temporary ones come with a token. */
export interface AccessKeys {
  readonly id: string
  readonly secret: string
  readonly token?: string
}

export interface SigningScope {
  readonly region: string
  readonly service: string
}

export interface RequestToSign {
  readonly method: string
  /** Path as it will be sent, escaped. */
  readonly path: string
  /** Query as it will be sent, see `canonicalQuery`. */
  readonly query: string
  /** Names in lower case; `host` is among them. All of them are signed. */
  readonly headers: Readonly<Record<string, string>>
  /** sha256 of the body in hex, or UNSIGNED_PAYLOAD. */
  readonly payloadHash: string
}

/** Over TLS the body needs no signature of its own: hashing it would cost more than encrypting it. */
export const UNSIGNED_PAYLOAD = 'UNSIGNED-PAYLOAD'
export const EMPTY_PAYLOAD_HASH = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'

/** Parameters in the order and form that are signed. Names and values are byte strings. */
export function canonicalQuery(parameters: readonly (readonly [string, string])[]): string {
  return parameters
    .map(([name, value]) => `${uriEncode(name)}=${uriEncode(value)}`)
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    .join('&')
}

/**
 * Signs requests by version 4 of AWS's signatures.
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
export class Signer {
  readonly #scope: SigningScope
  /** The key of a day is the same for all its requests. */
  #derived: { readonly secret: string; readonly day: string; readonly key: Buffer } | undefined

  constructor(scope: SigningScope) {
    this.#scope = scope
  }

  /** The headers to send: those given, and those that sign them. */
  sign(request: RequestToSign, keys: AccessKeys, nowMs: number): Record<string, string> {
    const time = `${new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '')}`
    const day = time.slice(0, 8)
    const headers: Record<string, string> = {
      ...request.headers,
      'x-amz-content-sha256': request.payloadHash,
      'x-amz-date': time,
      ...(keys.token === undefined ? {} : { 'x-amz-security-token': keys.token }),
    }
    const names = Object.keys(headers).sort()
    const signed = names.join(';')
    const lines = names.map((name) => `${name}:${headers[name]!.trim().replaceAll(/ +/g, ' ')}\n`).join('')
    const canonical = `${request.method}\n${request.path}\n${request.query}\n${lines}\n${signed}\n${request.payloadHash}`
    const scope = `${day}/${this.#scope.region}/${this.#scope.service}/aws4_request`
    const digest = createHash('sha256').update(canonical, 'latin1').digest('hex')
    const signature = createHmac('sha256', this.#keyOf(keys.secret, day))
      .update(`${ALGORITHM}\n${time}\n${scope}\n${digest}`, 'latin1')
      .digest('hex')
    headers['authorization'] =
      `${ALGORITHM} Credential=${keys.id}/${scope}, SignedHeaders=${signed}, Signature=${signature}`
    return headers
  }

  #keyOf(secret: string, day: string): Buffer {
    if (this.#derived?.day === day && this.#derived.secret === secret) return this.#derived.key
    const { region, service } = this.#scope
    let key: string | Buffer = `AWS4${secret}`
    for (const step of [day, region, service, 'aws4_request']) key = createHmac('sha256', key).update(step).digest()
    this.#derived = { secret, day, key: key as Buffer }
    return key as Buffer
  }
}

const ALGORITHM = 'AWS4-HMAC-SHA256'
