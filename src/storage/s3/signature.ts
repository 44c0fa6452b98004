import { createHash, createHmac } from 'node:crypto'
import type { FetchedKeys } from './keys/fetched-keys.ts'
import type { S3Description } from './description.ts'

/** A request before its signature. */
export interface Unsigned {
  readonly method: string
  /** Encoded as it is sent. */
  readonly path: string
  /** The result of `queryString`. */
  readonly query: string
  /** Lower-case names; receives the headers of the signature. */
  readonly headers: Record<string, string>
}

/**
 * Signature version 4 for requests to S3: the headers of `@smithy/signature-v4`, which needs three times the CPU time.
 * The key of a day is derived once.
 *
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
 */
export class RequestSigner {
  readonly #region: string
  readonly #service: string
  #key: { readonly day: string; readonly secret: string; readonly bytes: Buffer } | undefined

  constructor({ region, service }: Pick<S3Description, 'region' | 'service'>) {
    this.#region = region
    this.#service = service
  }

  /** Adds the headers of the signature. @param date by the clock of the service */
  sign({ method, path, query, headers }: Unsigned, keys: FetchedKeys, date: Date): void {
    const time = date.toISOString().replace(/[-:]|\.\d{3}/g, '')
    const day = time.slice(0, 8)
    const scope = `${day}/${this.#region}/${this.#service}/aws4_request`
    headers['x-amz-date'] = time
    headers['x-amz-content-sha256'] ??= HASH_OF_NOTHING
    if (keys.sessionToken) headers['x-amz-security-token'] = keys.sessionToken
    const names = Object.keys(headers)
      .filter((name) => name !== 'user-agent')
      .sort()
    const signedHeaders = names.join(';')
    let canonical = `${method}\n${path}\n${query}\n`
    for (const name of names) canonical += `${name}:${plainSpaces(headers[name]!)}\n`
    canonical += `\n${signedHeaders}\n${headers['x-amz-content-sha256']}`
    const digest = createHash('sha256').update(canonical).digest('hex')
    const signature = createHmac('sha256', this.#keyOf(day, keys.secretAccessKey))
      .update(`AWS4-HMAC-SHA256\n${time}\n${scope}\n${digest}`)
      .digest('hex')
    headers['authorization'] =
      `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`
  }

  #keyOf(day: string, secret: string): Buffer {
    if (this.#key?.day !== day || this.#key.secret !== secret) {
      const parts = [day, this.#region, this.#service, 'aws4_request']
      const bytes = parts.reduce(
        (key, part) => createHmac('sha256', key).update(part).digest(),
        Buffer.from(`AWS4${secret}`),
      )
      this.#key = { day, secret, bytes }
    }
    return this.#key.bytes
  }
}

const HASH_OF_NOTHING = createHash('sha256').digest('hex')

/** Spaces at the ends do not count, and several count as one. */
function plainSpaces(value: string): string {
  return /^\s|\s$|\s\s|[\t\r\n]/.test(value) ? value.replaceAll(/\s+/g, ' ').trim() : value
}

/** The parameters in the order and encoding of signatures; without `?`. */
export function queryString(parameters: Readonly<Record<string, string>>): string {
  const encoded = new Map(Object.entries(parameters).map(([name, value]) => [uriEncode(name), uriEncode(value)]))
  return [...encoded.keys()]
    .sort()
    .map((name) => `${name}=${encoded.get(name)}`)
    .join('&')
}

function uriEncode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  })
}
