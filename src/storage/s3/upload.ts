import type { IncomingMessage } from 'node:http'
import { createHash } from 'node:crypto'
import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectUpload } from '../object/client.ts'
import { StoreTrouble } from '../object/trouble.ts'
import { crc32Base64, type Integrity } from './integrity.ts'
import type { S3Headers } from './put-headers.ts'
import { errorElement, refusalOf } from './refusal.ts'
import type { S3Requests } from './requests.ts'
import { escapeXml, parseXml, textOf } from './xml.ts'

export interface UploadPlace {
  readonly requests: S3Requests
  readonly integrity: Integrity
  readonly name: string
  readonly partHeaders: S3Headers
  readonly look: () => Promise<(ObjectEntry & { etag?: string }) | undefined>
}

interface SentPart {
  readonly etag: string
  readonly crc?: string
  readonly sizeBytes: number
}

/** Begin an upload in parts. The store keeps the parts, and shows nothing of them, until it is completed or aborted. */
export async function beginUpload(place: UploadPlace, headers: S3Headers, signal?: AbortSignal): Promise<ObjectUpload> {
  const { requests, name } = place
  const { response, text } = await requests.textOf({
    action: 'write',
    method: 'POST',
    name,
    query: [['uploads', '']],
    headers: { ...headers, 'x-amz-checksum-algorithm': 'CRC32' },
    ...(signal === undefined ? {} : { signal }),
  })
  const id = textOf(parseXml(text), 'UploadId')
  if (id === undefined) throw new StoreTrouble(`the store began an upload of ${requests.shown(name)} and gave it no id`)
  // A store that overlooks what it does not know does not repeat it.
  const checksCrc = response.headers['x-amz-checksum-algorithm'] === 'CRC32'
  return new S3Upload(place, id, checksCrc, Date.parse(response.headers.date ?? ''))
}

class S3Upload implements ObjectUpload {
  readonly #place: UploadPlace
  readonly #id: string
  readonly #checksCrc: boolean
  /** By the clock of the store; NaN if it did not say. */
  readonly #begunMs: number
  readonly #parts = new Map<number, SentPart>()

  constructor(place: UploadPlace, id: string, checksCrc: boolean, begunMs: number) {
    this.#place = place
    this.#id = id
    this.#checksCrc = checksCrc
    this.#begunMs = begunMs
  }

  async part(number: number, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
    const { requests, integrity, name, partHeaders } = this.#place
    const crc = this.#checksCrc ? crc32Base64(bytes) : undefined
    const response: IncomingMessage = await requests.headOf({
      action: 'write',
      method: 'PUT',
      name,
      query: [
        ['partNumber', String(number)],
        ['uploadId', this.#id],
      ],
      headers: partHeaders,
      body: bytes,
      proof: integrity.forPart(bytes, crc),
      ...(signal === undefined ? {} : { signal }),
    })
    const { etag } = response.headers
    if (etag === undefined) {
      throw new StoreTrouble(`the store took part ${number} of ${requests.shown(name)} and gave no ETag for it`)
    }
    this.#parts.set(number, { etag, sizeBytes: bytes.length, ...(crc === undefined ? {} : { crc }) })
  }

  async complete(signal?: AbortSignal): Promise<void> {
    const { requests, integrity, name } = this.#place
    const parts = [...this.#parts].sort(([a], [b]) => a - b)
    const gap = parts.findIndex(([number], index) => number !== index + 1)
    if (gap !== -1 || parts.length === 0) {
      throw new PgtsError('assert', `the upload of ${name} lacks part ${gap === -1 ? 1 : gap + 1}`)
    }
    const body = `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${parts
      .map(([number, part]) => partElement(number, part))
      .join('')}</CompleteMultipartUpload>`
    const request = {
      action: 'write',
      method: 'POST',
      name,
      query: [['uploadId', this.#id]],
      body,
      proof: integrity.forDocument(body),
      headers: this.#place.partHeaders,
      ...(signal === undefined ? {} : { signal }),
    } as const
    const answer = await requests.send(request)
    if (answer.refusal?.code === 'NoSuchUpload' && (await this.#isThere())) return
    if (answer.refusal !== undefined) throw requests.errorOf(answer.refusal, request)
    // The answer begins before the work is done, so that success may turn into a failure inside it.
    const text = await requests.restOf(answer.response, request)
    const root = completed(text, requests.shown(name))
    const error = errorElement(root)
    if (error !== undefined) throw requests.errorOf(refusalOf(200, error, answer.response.headers), request)
  }

  async abort(): Promise<void> {
    const { requests, name } = this.#place
    const request = { action: 'abort', method: 'DELETE', name, query: [['uploadId', this.#id]] } as const
    const { response, refusal } = await requests.send(request)
    if (refusal !== undefined && refusal.status !== 404) throw requests.errorOf(refusal, request)
    if (response !== undefined) await requests.restOf(response, request)
  }

  /**
   * Nothing is known of this upload any more. If that is so because it was completed, and only the answer to that was
   * lost, then the object is there: with the ETag that follows from the parts, or with their size and a later time.
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
    // HEAD gives whole seconds.
    return found.mtimeMs >= Math.floor(this.#begunMs / 1000) * 1000
  }
}

function partElement(number: number, { etag, crc }: SentPart): string {
  const sum = crc === undefined ? '' : `<ChecksumCRC32>${crc}</ChecksumCRC32>`
  return `<Part><PartNumber>${number}</PartNumber><ETag>${escapeXml(etag)}</ETag>${sum}</Part>`
}

function completed(text: string, shown: string) {
  try {
    return parseXml(text)
  } catch (cause) {
    throw new StoreTrouble(`the store did not say whether the upload of ${shown} is complete`, { cause })
  }
}
