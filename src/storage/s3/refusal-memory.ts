import { createHash } from 'node:crypto'
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { s3Address, type S3Description } from './description.ts'

/** What a body is proven by, beside its signature. */
export type Proof = 'crc32' | 'md5'

/** The store may have learned in the meantime; asking costs one refused request. */
const KEEP_MS = 24 * 3_600_000

/**
 * That a store refuses the headers of a CRC-32, for this process and as a file for the next ones: otherwise every
 * archive-push would be refused once. The file holds for one bucket and one day. Believing it when it is wrong costs
 * processor time and no safety, as a body then carries its MD5; and where it cannot be written, each process finds out again.
 */
export class RefusalMemory {
  readonly #path: string | undefined
  #refusesCrc: boolean

  constructor(description: S3Description) {
    const { memoryPath } = description
    this.#path = memoryPath === undefined ? undefined : `${memoryPath}/${fileName(description)}`
    this.#refusesCrc = this.#path !== undefined && isFresh(this.#path)
  }

  get refusesCrc(): boolean {
    return this.#refusesCrc
  }

  rememberRefusedCrc(): void {
    if (this.#refusesCrc) return
    this.#refusesCrc = true
    if (this.#path !== undefined) leave(this.#path)
  }
}

function fileName(description: S3Description): string {
  const { host, port } = s3Address(description)
  const bucket = createHash('sha256')
    .update(JSON.stringify([host, port, description.bucket]))
    .digest('hex')
  return `pgts-s3-without-crc-${bucket.slice(0, 16)}`
}

/** Nothing but a file of this user or root counts, as the directory may be one that others write to. */
function isFresh(path: string): boolean {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const { mtimeMs, uid } = fstatSync(fd)
      return (uid === 0 || uid === process.geteuid?.()) && Math.abs(Date.now() - mtimeMs) < KEEP_MS
    } finally {
      closeSync(fd)
    }
  } catch {
    return false
  }
}

/** Its time alone counts. */
function leave(path: string): void {
  try {
    const directory = dirname(path)
    // Not recursive: Node never returns from that below /proc.
    if (!existsSync(directory)) mkdirSync(directory, { mode: 0o770 })
    const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
    const fd = openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o640)
    try {
      writeSync(fd, 'The store refuses x-amz-checksum-* headers. This file may be removed at any time.\n')
    } finally {
      closeSync(fd)
    }
  } catch {
    // The next process finds out again.
  }
}
