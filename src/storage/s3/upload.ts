import { CompleteMultipartUploadCommand, CreateMultipartUploadCommand } from '@aws-sdk/client-s3'
import { createHash } from 'node:crypto'
import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectUpload } from '../object/client.ts'
import { RetryableStoreError } from '../object/retryable-error.ts'
import { textKey } from './names.ts'
import { abortUpload } from './abandoned.ts'
import { crc32Base64, type Integrity } from './integrity.ts'
import type { KeyParams, PutParams } from './put-params.ts'
import type { S3Requests } from './requests.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'

export type LookedEntry = ObjectEntry & { readonly etag?: string }

export interface UploadPlace {
  readonly requests: S3Requests
  readonly integrity: Integrity
  readonly name: ByteString
  /** A customer key is sent with every part. */
  readonly keyParams: KeyParams
  readonly look: () => Promise<LookedEntry | undefined>
}

interface SentPart {
  readonly etag: string
  readonly crc?: string
  readonly sizeBytes: number
}

/** Begins an upload in parts. The store keeps the parts invisible until the upload is completed or aborted. */
export async function beginUpload(place: UploadPlace, params: PutParams, signal?: AbortSignal): Promise<ObjectUpload> {
  const { requests, integrity, name } = place
  const input = { ...requests.common, Key: textKey(name), ...params }
  const subject = { action: 'write', name, signal } as const
  const { output, refusal } = await integrity.send((proof) => {
    const checksum = proof === 'md5' ? {} : ({ ChecksumAlgorithm: 'CRC32' } as const)
    return requests.send({ ...subject, command: () => new CreateMultipartUploadCommand({ ...input, ...checksum }) })
  })
  if (refusal !== undefined) throw requests.errorOf(refusal, subject)
  const { UploadId, ChecksumAlgorithm } = output
  if (UploadId === undefined) {
    throw new RetryableStoreError(`the store began an upload of ${requests.shown(name)}, but returned no id`)
  }
  // A store that does not know CRC-32 does not repeat the algorithm.
  return new S3Upload(place, UploadId, ChecksumAlgorithm === 'CRC32')
}

class S3Upload implements ObjectUpload {
  readonly #place: UploadPlace
  readonly #id: string
  readonly #checksCrc: boolean
  /** By the clock of the store. */
  readonly #begunMs: number
  readonly #parts = new Map<number, SentPart>()

  constructor(place: UploadPlace, id: string, checksCrc: boolean) {
    this.#place = place
    this.#id = id
    this.#checksCrc = checksCrc
    this.#begunMs = place.requests.storeNowMs
  }

  async part(number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { requests, integrity, name, keyParams } = this.#place
    const crc = this.#checksCrc ? crc32Base64(bytes) : undefined
    const request = { action: 'write', operation: 'UploadPart', name, signal } as const
    const params = { ...requests.common, ...keyParams, UploadId: this.#id, PartNumber: number }
    const { output, refusal } = await integrity.send((proof) => {
      const { input, body } = integrity.forPart(bytes, crc, proof)
      return requests.sendDirect({ ...request, input: { ...params, ...input }, body })
    })
    if (refusal !== undefined) throw requests.errorOf(refusal, request)
    const { etag } = output.headers
    if (etag === undefined) {
      throw new RetryableStoreError(
        `the store accepted part ${number} of ${requests.shown(name)}, but returned no ETag`,
      )
    }
    this.#parts.set(number, { etag, sizeBytes: bytes.length, crc })
  }

  async complete(signal?: AbortSignal): Promise<void> {
    const { requests, name } = this.#place
    const parts = [...this.#parts].sort(([a], [b]) => a - b)
    const gap = parts.findIndex(([number], index) => number !== index + 1)
    if (gap !== -1 || parts.length === 0) {
      throw new PgtsError('assert', `the upload of ${bytesToText(name)} lacks part ${gap === -1 ? 1 : gap + 1}`)
    }
    const Parts = parts.map(([PartNumber, { etag: ETag, crc }]) => ({
      PartNumber,
      ETag,
      ChecksumCRC32: crc,
    }))
    const request = {
      action: 'write',
      name,
      command: () => new CompleteMultipartUploadCommand({ ...this.#input(), MultipartUpload: { Parts } }),
      signal,
    } as const
    const { refusal } = await requests.send(request)
    if (refusal?.code === 'NoSuchUpload' && (await this.#isThere())) return
    if (refusal !== undefined) throw requests.errorOf(refusal, request)
  }

  async abort(): Promise<void> {
    await abortUpload(this.#place.requests, this.#place.name, this.#id)
  }

  #input() {
    const { requests, name, keyParams } = this.#place
    return { ...requests.common, Key: textKey(name), UploadId: this.#id, ...keyParams }
  }

  /**
   * The store no longer knows this upload. If it was completed and only the answer was lost, the object exists: with
   * the ETag that follows from the parts, or with their size and a later time.
   */
  async #isThere(): Promise<boolean> {
    const found = await this.#place.look()
    const parts = [...this.#parts].sort(([a], [b]) => a - b).map(([, part]) => part)
    if (found?.sizeBytes !== parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)) return false
    const digests = parts.map(({ etag }) => /^"?([0-9a-f]{32})"?$/i.exec(etag)?.[1])
    if (found.etag !== undefined && digests.every((digest) => digest !== undefined)) {
      const digest = createHash('md5')
        .update(Buffer.from(digests.join(''), 'hex'))
        .digest('hex')
      if (found.etag.replaceAll('"', '') === `${digest}-${parts.length}`) return true
    }
    // HEAD gives whole seconds, and so does the Date header of the service.
    return found.mtimeMs >= Math.floor(this.#begunMs / 1000) * 1000 - 1000
  }
}
