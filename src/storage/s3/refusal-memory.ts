import { createHash } from 'node:crypto'
import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { s3Address, type S3Description } from './description.ts'

/** The proof of a body, in addition to its signature. */
export type Proof = 'crc32' | 'md5'

/** The store may have been upgraded since; checking costs one refused request. */
const KEEP_MS = 24 * 3_600_000

/**
 * Records that a store refuses the headers of a CRC-32, for this process and in a file for later ones: otherwise every
 * archive-push would be refused once. The file is valid for one bucket and one day. A wrong record costs CPU time, not
 * safety, because a body then carries its MD5. If the file cannot be written, each process detects it again.
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

/** Only a file of this user or root is trusted, because other users may write to the directory. */
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

/** Only the mtime of the file is used. */
function leave(path: string): void {
  try {
    const directory = dirname(path)
    // Not recursive: below /proc Node's recursive mkdir never returns.
    if (!existsSync(directory)) mkdirSync(directory, { mode: 0o770 })
    const { O_WRONLY, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
    const fd = openSync(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o640)
    try {
      writeSync(fd, 'The store refuses x-amz-checksum-* headers. This file may be removed at any time.\n')
    } finally {
      closeSync(fd)
    }
  } catch {
    // The next process detects it again.
  }
}
