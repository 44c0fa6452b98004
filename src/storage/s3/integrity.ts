import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { crc32 } from 'node:zlib'
import type { ServiceInputTypes, ServiceOutputTypes } from '@aws-sdk/client-s3'
import { mayBeUnknown } from './refusal.ts'
import type { Proof, RefusalMemory } from './refusal-memory.ts'
import type { HttpRequest, S3Answer, S3Request, S3Requests } from './requests.ts'

/** A body, and how it is proven to arrive as it was sent. */
export interface ProvenBody {
  /** Parameters of the command. */
  readonly input: () => {
    readonly Body: Uint8Array | Readable
    readonly ContentLength: number
    readonly ChecksumAlgorithm?: 'CRC32'
    readonly ChecksumCRC32?: string
    readonly ContentMD5?: string
  }
  /** Says what the signature is to say of the body. */
  readonly prepare: (request: HttpRequest) => void
}

/**
 * Every S3 service checks a sha256 that is part of the signature; the newer ones check a CRC-32, too, which costs next to
 * nothing (4 GB/s against 1.3, and 0.5 of MD5). So bodies are signed until the store has shown, by repeating the CRC-32
 * in its answer, that it checks it; from then on TLS keeps them from being changed on purpose, and the CRC-32 from
 * being changed by accident. Without TLS they are always signed.
 *
 * Some services refuse the headers of a CRC-32, and some want a Content-MD5 for buckets with object lock. After the first
 * refusal the same is sent signed and with its MD5, which is as old as S3; when that is taken, so is all that follows.
 */
export class Integrity {
  readonly #secure: boolean
  readonly #memory: RefusalMemory
  #checksCrc = false

  constructor(secure: boolean, memory: RefusalMemory) {
    this.#secure = secure
    this.#memory = memory
  }

  /** Send what carries a body, or begins an upload; again with an MD5 when the store may not know CRC-32. */
  async send<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    requests: Pick<S3Requests, 'send'>,
    request: (proof: Proof) => S3Request<I, O>,
  ): Promise<S3Answer<O>> {
    if (this.#memory.refusesCrc) return requests.send(request('md5'))
    const answer = await requests.send(request('crc32'))
    if (answer.refusal === undefined || !mayBeUnknown(answer.refusal)) return answer
    const plain = await requests.send(request('md5'))
    // A condition that does not hold is an answer, too.
    if (plain.refusal === undefined || plain.refusal.status === 412) this.#memory.rememberRefusedCrc()
    return plain
  }

  forObject(bytes: Uint8Array, proof: Proof): ProvenBody {
    return proof === 'md5' ? withContentMd5(bytes) : proven(bytes, crc32Base64(bytes), !this.#checksCrc)
  }

  /** The store's answer to such an object. */
  learn({ ChecksumCRC32 }: { readonly ChecksumCRC32?: string }): void {
    if (this.#secure && ChecksumCRC32 !== undefined) this.#checksCrc = true
  }

  /** A part of an upload. `crc`: the store said, when the upload began, that it checks one. */
  forPart(bytes: Uint8Array, crc: string | undefined, proof: Proof): ProvenBody {
    return proof === 'md5' ? withContentMd5(bytes) : proven(bytes, crc, crc === undefined || !this.#secure)
  }
}

function proven(bytes: Uint8Array, crc: string | undefined, signed: boolean): ProvenBody {
  const checksum = crc === undefined ? {} : ({ ChecksumAlgorithm: 'CRC32', ChecksumCRC32: crc } as const)
  return bodyWith(bytes, checksum, signed)
}

function withContentMd5(bytes: Uint8Array): ProvenBody {
  return bodyWith(bytes, { ContentMD5: createHash('md5').update(bytes).digest('base64') }, true)
}

function bodyWith(bytes: Uint8Array, checksum: object, signed: boolean): ProvenBody {
  const hash = signed ? createHash('sha256').update(bytes).digest('hex') : 'UNSIGNED-PAYLOAD'
  return {
    input: () => ({ Body: bodyOf(bytes), ContentLength: bytes.length, ...checksum }),
    prepare: ({ headers }) => {
      headers['x-amz-content-sha256'] = hash
    },
  }
}

/** TLS keeps a copy of what the network has not taken, so a large body is handed over piece by piece. */
const PIECE_BYTES = 256 * 1024

function bodyOf(bytes: Uint8Array): Uint8Array | Readable {
  if (bytes.length <= PIECE_BYTES) return bytes
  let at = 0
  return new Readable({
    highWaterMark: PIECE_BYTES,
    read() {
      this.push(at < bytes.length ? bytes.subarray(at, (at += PIECE_BYTES)) : null)
    },
  })
}

/** Services that know no CRC-32 insist on an MD5 of a batch of removals, where the library would send only the former. */
export function withMd5({ headers, body }: HttpRequest): void {
  for (const name of Object.keys(headers)) if (/^x-amz-(sdk-)?checksum-/.test(name)) delete headers[name]
  headers['content-md5'] = createHash('md5')
    .update(body as string)
    .digest('base64')
}

/** Big-endian, in base64, as the service wants it. */
export function crc32Base64(bytes: Uint8Array): string {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(crc32(bytes))
  return value.toString('base64')
}
