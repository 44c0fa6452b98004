import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { DirectInput, DirectRequest } from './direct.ts'
import { mayBeUnknown, type S3Answer } from './refusal.ts'
import type { Proof, RefusalMemory } from './refusal-memory.ts'

/** A body, and the proof that it arrives unchanged. */
export interface ProvenBody {
  /** Parameters of the request. */
  readonly input: Pick<DirectInput, 'ContentLength' | 'ChecksumAlgorithm' | 'ChecksumCRC32' | 'ContentMD5'>
  readonly body: NonNullable<DirectRequest['body']>
}

/**
 * Every S3 service checks a SHA-256 that is part of the signature; newer ones also check a CRC-32, which costs almost
 * nothing (4 GB/s against 1.3, and 0.5 of MD5). So bodies are signed until the store has shown that it checks the
 * CRC-32, by repeating it in an answer. From then on TLS protects against intended changes, and the CRC-32 against
 * accidental ones. Without TLS they are always signed.
 *
 * Some services refuse the headers of a CRC-32, and some require a Content-MD5 for buckets with object lock. After the
 * first refusal the request is repeated with signature and MD5, which every service knows; if that succeeds, all later
 * requests use it.
 */
export class Integrity {
  readonly #secure: boolean
  readonly #memory: RefusalMemory
  #checksCrc = false

  constructor(secure: boolean, memory: RefusalMemory) {
    this.#secure = secure
    this.#memory = memory
  }

  /** Sends a request that carries a body or begins an upload; again with an MD5 if the store may not know CRC-32. */
  async send<O>(request: (proof: Proof) => Promise<S3Answer<O>>): Promise<S3Answer<O>> {
    if (this.#memory.refusesCrc) return request('md5')
    const answer = await request('crc32')
    if (answer.refusal === undefined || !mayBeUnknown(answer.refusal)) return answer
    const plain = await request('md5')
    // A failed condition also shows that the service accepted the headers.
    if (plain.refusal === undefined || plain.refusal.status === 412) this.#memory.rememberRefusedCrc()
    return plain
  }

  forObject(bytes: Uint8Array, proof: Proof): ProvenBody {
    return proof === 'md5' ? withContentMd5(bytes) : proven(bytes, crc32Base64(bytes), !this.#checksCrc)
  }

  /** Evaluates the headers of the answer to an object sent with a CRC-32. */
  learn(headers: Readonly<Record<string, string>>): void {
    if (this.#secure && headers['x-amz-checksum-crc32'] !== undefined) this.#checksCrc = true
  }

  /** A part of an upload. `crc`: set if the store reported at the start of the upload that it checks a CRC-32. */
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
  return { input: { ContentLength: bytes.length, ...checksum }, body: { bytes, hash } }
}

/** Big-endian in base64, the form of the service. */
export function crc32Base64(bytes: Uint8Array): string {
  const value = Buffer.alloc(4)
  value.writeUInt32BE(crc32(bytes))
  return value.toString('base64')
}
