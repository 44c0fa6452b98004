import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { decryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { decompressor, loadCodec } from '../../codec/registry.ts'
import { bytesToText, pathOf } from '../../util/byte-string.ts'
import type { CompressType } from '../../util/compress-type.ts'
import { isPgtsError, PgtsError, systemCode } from '../../util/error.ts'
import type { Stage } from '../../codec/stage.ts'
import type { WorkerEnv } from '../worker-env.ts'
import type { FileAction } from './plan.ts'
import { translate, type OwnerIds } from './target-files.ts'

/** One file on its way back. Sizes in bytes, paths and names are byte strings. */
export interface RestoreFile {
  /** Manifest name. */
  readonly name: string
  /** Absolute, not through a link. */
  readonly path: string
  readonly action: FileAction
  readonly sizeBytes: number
  /** SHA-1 of the content, hex; of nothing when the file is to be zeroed. */
  readonly checksum: string
  /** mtime to set, seconds since the epoch. */
  readonly timestamp: number
  readonly mode: number
  /** Absent: whoever runs the restore owns it. */
  readonly owner?: OwnerIds
  /** Absent for an empty file and a zeroed one: those are never read from the repository. */
  readonly stored?: {
    readonly repoName: string
    /** Of a bundle: where this file's bytes are. */
    readonly slice?: { readonly offset: number; readonly length: number }
  }
}

/** A few files at a time, so that small ones do not cost a message each. */
export interface RestoreFileJob {
  readonly files: readonly RestoreFile[]
  readonly compressType: CompressType
  /** Files in bundles are compressed and encrypted in the raw form. */
  readonly bundleRaw: boolean
  /** Passphrase of the backup set's files; absent: the repository is not encrypted. */
  readonly cipherPass?: string
}

export interface RestoredFile {
  readonly name: string
  readonly path: string
  readonly sizeBytes: number
  readonly checksum: string
  /** `kept`: size and time agreed; `matches`: the checksum did; `empty`: nothing to copy; `zeroed`: not wanted. */
  readonly outcome: 'restored' | 'matches' | 'kept' | 'empty' | 'zeroed'
}

/**
 * Job handler: bring files back to disk. Every byte is proven: what cannot be is `checksum` [026]. A file is durable,
 * with its time, mode and owner, when its result is returned; the entry in its directory is synced by the caller.
 */
export async function restoreFile(job: RestoreFileJob, env: WorkerEnv, signal: AbortSignal): Promise<RestoredFile[]> {
  await loadCodec(job.compressType)
  const results: RestoredFile[] = []
  for (const file of job.files) {
    signal.throwIfAborted()
    const outcome = await bringBack(file, job, env, signal)
    results.push({ name: file.name, path: file.path, sizeBytes: file.sizeBytes, checksum: file.checksum, outcome })
  }
  return results
}

async function bringBack(
  file: RestoreFile,
  job: RestoreFileJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<RestoredFile['outcome']> {
  if (file.action === 'keep') {
    settleExisting(file, () => true)
    return 'kept'
  }
  if (
    file.action === 'check' &&
    settleExisting(file, (fd) => sha1OfStart(fd, file.sizeBytes, env.buffer) === file.checksum)
  ) {
    return 'matches'
  }
  const fd = createNew(file.path)
  try {
    // A hole of the right length: it takes no space, and all its pages read as new ones.
    if (file.action === 'zero') makeHole(fd, file)
    else if (file.sizeBytes > 0) await copyContent(fd, file, job, env, signal)
    settle(fd, file)
  } finally {
    fs.closeSync(fd)
  }
  if (file.sizeBytes === 0) return 'empty'
  return file.action === 'zero' ? 'zeroed' : 'restored'
}

/** Decode the stored bytes into an open, empty file. */
async function copyContent(
  fd: number,
  file: RestoreFile,
  job: RestoreFileJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<void> {
  const { stored } = file
  if (stored === undefined) throw new PgtsError('assert', `no repository file for ${file.name}`)
  const raw = stored.slice !== undefined && job.bundleRaw
  const content = digest('sha1')
  const stages: Stage[] = job.cipherPass === undefined ? [] : [decryptor(job.cipherPass, { raw })]
  if (job.compressType !== 'none') stages.push(decompressor(job.compressType, { raw }))
  stages.push(content)
  try {
    const source = await env.storage.read(stored.repoName, { ...stored.slice, signal })
    const sink = {
      write(chunk: Uint8Array): void {
        // Damaged bytes may decode to any length; what is beyond the file must not fill the disk.
        if (content.bytes > file.sizeBytes) throw mismatch(file, env, `more than ${file.sizeBytes} bytes`)
        writeFully(fd, chunk, file.path)
      },
    }
    await pump(source, stages, sink, signal)
  } catch (error) {
    throw explain(error, file, env)
  }
  if (content.hex() !== file.checksum) throw mismatch(file, env, `SHA-1 ${content.hex()}`)
}

function mismatch(file: RestoreFile, env: WorkerEnv, actual: string): PgtsError {
  return new PgtsError(
    'checksum',
    `error restoring '${bytesToText(file.path)}': ${storedAs(file, env)} decodes to ${actual}` +
      ` where the backup has ${file.sizeBytes} bytes with SHA-1 ${file.checksum}`,
    { hints: otherSource },
  )
}

/** What went wrong while reading, with the names of both files. What concerns the target passes as it is. */
function explain(error: unknown, file: RestoreFile, env: WorkerEnv): unknown {
  const codes = ['format', 'crypto', 'file-missing', 'file-read', 'file-open', 'path-missing'] as const
  if (!codes.some((code) => isPgtsError(error, code)) || !isPgtsError(error)) return error
  return new PgtsError(
    error.code,
    `unable to restore '${bytesToText(file.path)}' from ${storedAs(file, env)}: ${error.message}`,
    { hints: [...error.hints, ...otherSource], cause: error },
  )
}

function storedAs(file: RestoreFile, env: WorkerEnv): string {
  const { repoName = '', slice } = file.stored ?? {}
  const at = slice === undefined ? '' : ` at ${slice.offset} (${slice.length} bytes)`
  return `'${env.storage.display}/${bytesToText(repoName)}'${at}`
}

const otherSource = [
  'this copy of the backup is damaged: restore another set (--set) or from another repository (--repo) with --delta',
]

/**
 * A new file, whatever was there: nothing is written through a link, and a hard link elsewhere keeps its content.
 */
function createNew(path: string): number {
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = fs.constants
  const open = () => fs.openSync(pathOf(path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    try {
      return open()
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
      fs.unlinkSync(pathOf(path))
      return open()
    }
  } catch (error) {
    throw translate(error, 'file-write', `unable to create '${bytesToText(path)}'`)
  }
}

/** Keep an existing file when `isRight` says so: cut to its size, time, mode and owner set. False: it must be copied. */
function settleExisting(file: RestoreFile, isRight: (fd: number) => boolean): boolean {
  const { O_RDWR, O_NOFOLLOW } = fs.constants
  let fd: number
  try {
    fd = fs.openSync(pathOf(file.path), O_RDWR | O_NOFOLLOW)
  } catch (error) {
    // Gone, a link, or not readable for its owner: it will be made anew.
    if (['ENOENT', 'ELOOP', 'EACCES', 'EPERM'].includes(systemCode(error) ?? '')) return false
    throw translate(error, 'file-open', `unable to open '${bytesToText(file.path)}'`)
  }
  try {
    const stat = fs.fstatSync(fd)
    // A second name elsewhere shares the content: cutting it here would cut it there.
    if (!stat.isFile() || stat.size < file.sizeBytes || (stat.nlink > 1 && stat.size > file.sizeBytes)) return false
    if (!isRight(fd)) return false
    if (stat.size > file.sizeBytes) fs.ftruncateSync(fd, file.sizeBytes)
    settle(fd, file)
    return true
  } catch (error) {
    throw translate(error, 'file-write', `unable to use the existing '${bytesToText(file.path)}'`)
  } finally {
    fs.closeSync(fd)
  }
}

function sha1OfStart(fd: number, length: number, buffer: Buffer): string {
  const hash = createHash('sha1')
  for (let position = 0; position < length;) {
    const got = fs.readSync(fd, buffer, 0, Math.min(buffer.length, length - position), position)
    if (got === 0) return 'shorter than it was'
    hash.update(buffer.subarray(0, got))
    position += got
  }
  return hash.digest('hex')
}

function makeHole(fd: number, file: RestoreFile): void {
  try {
    fs.ftruncateSync(fd, file.sizeBytes)
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(file.path)}'`)
  }
}

/** Owner, mode and time as the backup has them, then to disk. What is right already costs no write. */
function settle(fd: number, file: RestoreFile): void {
  try {
    const stat = fs.fstatSync(fd)
    if (file.owner !== undefined && (stat.uid !== file.owner.uid || stat.gid !== file.owner.gid)) {
      fs.fchownSync(fd, file.owner.uid, file.owner.gid)
    }
    if ((stat.mode & 0o7777) !== file.mode) fs.fchmodSync(fd, file.mode)
    if (stat.mtimeMs !== file.timestamp * 1000) fs.futimesSync(fd, file.timestamp, file.timestamp)
    fs.fsyncSync(fd)
  } catch (error) {
    throw translate(error, 'file-write', `unable to finish '${bytesToText(file.path)}'`)
  }
}

function writeFully(fd: number, chunk: Uint8Array, path: string): void {
  try {
    for (let done = 0; done < chunk.length;) done += fs.writeSync(fd, chunk, done, chunk.length - done)
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(path)}'`)
  }
}
