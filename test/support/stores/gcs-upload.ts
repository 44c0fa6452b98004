import type { GcsBucket, ObjectMetadata, Preconditions, StoredObject } from './gcs-objects.ts'
import { GcsRefusal } from './gcs-refusal.ts'

/** Every piece of a resumable upload except the last is a multiple of this. */
const GRAIN_BYTES = 256 * 1024

/** State of an upload: the number of bytes, or the completed object. */
export type UploadState = { readonly receivedBytes: number } | { readonly object: StoredObject }

/** A resumable upload: pieces are appended, and the object exists after the last one. */
export class GcsUpload {
  readonly #pieces: Buffer[] = []
  #receivedBytes = 0
  #object: StoredObject | undefined

  constructor(
    readonly bucket: GcsBucket,
    readonly name: string,
    readonly metadata: ObjectMetadata,
    readonly conditions: Preconditions,
  ) {
    bucket.check(name, conditions)
  }

  get finished(): boolean {
    return this.#object !== undefined
  }

  /**
   * Handle one request of the session.
   *
   * @param range value of Content-Range: `bytes 0-9/10`, `bytes 0-9/*`, `bytes 0-*\/10`, `bytes *\/*`, `bytes *\/10`
   */
  take(range: string | undefined, bytes: Buffer, hashes: Pick<ObjectMetadata, 'md5Hash' | 'crc32c'>): UploadState {
    if (this.#object !== undefined) return { object: this.#object }
    const said = /^bytes (?:\*|(\d+)-(\d+|\*))\/(\d+|\*)$/.exec(range ?? `bytes 0-*/${bytes.length}`)
    if (said === null) throw new GcsRefusal(400, 'invalid', `Failed to parse Content-Range header: ${range}`)
    const [, from, to, totalText] = said
    const total = totalText === '*' ? undefined : Number(totalText)
    if (from !== undefined) this.#append(Number(from), to === '*' ? undefined : Number(to), total, bytes)
    else if (bytes.length > 0) throw new GcsRefusal(400, 'invalid', 'A status query carries no bytes')
    if (total === undefined ? to !== '*' : this.#receivedBytes < total) return { receivedBytes: this.#receivedBytes }
    if (total !== undefined && this.#receivedBytes > total)
      throw new GcsRefusal(400, 'invalid', 'More bytes were sent than were announced')
    // An error here makes the upload fail finally, and no object becomes visible.
    const whole = Buffer.concat(this.#pieces)
    this.#object = this.bucket.put(this.name, whole, { ...this.metadata, ...hashes }, this.conditions)
    this.#pieces.length = 0
    return { object: this.#object }
  }

  #append(from: number, to: number | undefined, total: number | undefined, bytes: Buffer): void {
    if (to !== undefined && bytes.length !== to - from + 1)
      throw new GcsRefusal(
        400,
        'invalid',
        `There were ${bytes.length} byte(s) in the request body, not ${to - from + 1}`,
      )
    if (from > this.#receivedBytes)
      throw new GcsRefusal(503, 'backendError', `Byte ${from} came, but byte ${this.#receivedBytes} is next`)
    const end = from + bytes.length
    const isLast = to === undefined || end === total
    if (!isLast && end % GRAIN_BYTES !== 0)
      throw new GcsRefusal(400, 'invalid', `A piece that is not the last has to be a multiple of ${GRAIN_BYTES} bytes`)
    // Bytes that were received before are skipped.
    const fresh = bytes.subarray(Math.min(bytes.length, this.#receivedBytes - from))
    this.#pieces.push(Buffer.from(fresh))
    this.#receivedBytes += fresh.length
  }
}
