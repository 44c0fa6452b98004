import { encryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { compressor, loadCodec } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { CompressType } from '../../format/manifest.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import type { ByteSink } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'
import type { WorkerEnv } from '../worker-env.ts'
import { openForCopy, withFirst } from './cluster-source.ts'
import { PageCheck, type PageCheckResult } from './page-check.ts'
import { RepoTarget } from './repo-target.ts'

/** One file of the cluster on its way into the repository. */
export interface CopyFileJob {
  /** Manifest name. */
  readonly name: string
  /** Absolute path on the cluster's host, links resolved. */
  readonly pgName: string
  /** Where it is stored when it is not part of a bundle. */
  readonly repoName: string
  /** Size when the list was made, bytes. */
  readonly sizeBytes: number
  /** PostgreSQL may extend the file meanwhile; what lies beyond `sizeBytes` comes back from WAL. */
  readonly sizeLimited: boolean
  /** pg_control: read until its CRC is right, stored with a zero tail. */
  readonly control: boolean
  /** Verify page checksums; number of the file's first block within its relation. */
  readonly firstBlock?: number
  /** The prior backup holds `sizeBytes` bytes with this SHA-1: the same content is not stored again. */
  readonly known?: {
    readonly checksum: string
    /** Hash the source before anything is written, because it is probably the same. */
    readonly first: boolean
  }
}

/** Files that are stored one by one, or, with `bundle`, one after the other in one repository file. */
export interface CopyFilesJob {
  readonly files: readonly CopyFileJob[]
  readonly bundle?: {
    readonly id: number
    readonly repoName: string
    /** Slices are stored in the leaner form of codec and cipher. */
    readonly raw: boolean
  }
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Passphrase of the backup set's files, in an encrypted repository. */
  readonly cipherPass?: string
  readonly pages: { readonly size: number; readonly headerCheck: boolean }
}

/** `unchanged`: the prior backup has it. `emptied`: it lost its content meanwhile, and bundles hold no empty files. */
export type CopiedFile =
  | { readonly name: string; readonly outcome: 'vanished' }
  | { readonly name: string; readonly outcome: 'unchanged' }
  | { readonly name: string; readonly outcome: 'emptied' }
  | ({ readonly name: string; readonly outcome: 'copied' } & StoredContent)

export interface StoredContent {
  readonly sizeBytes: number
  readonly checksum: string
  readonly repoSizeBytes: number
  /** Of the stored bytes, when a filter changed them. */
  readonly repoChecksum?: string
  readonly bundle?: { readonly id: number; readonly offset: number }
  readonly pages?: PageCheckResult
}

/** Job handler: copy files into the repository, hashed on both sides of the codec. */
export async function backupFiles(job: CopyFilesJob, env: WorkerEnv, signal: AbortSignal): Promise<CopiedFile[]> {
  await loadCodec(job.codec.type)
  const copied: CopiedFile[] = []
  if (job.bundle === undefined) {
    for (const file of job.files) {
      signal.throwIfAborted()
      await using target = new RepoTarget(env.storage, file.repoName, signal)
      const result = await copyFile(file, job, target, env, signal)
      if (result.outcome === 'copied') await target.commit()
      copied.push(result)
    }
    return copied
  }
  await using target = new RepoTarget(env.storage, job.bundle.repoName, signal)
  for (const file of job.files) {
    signal.throwIfAborted()
    copied.push(await copyFile(file, job, target, env, signal))
  }
  // A bundle whose files all turned out unchanged was never begun.
  if (target.bytes > 0) await target.commit()
  return copied
}

async function copyFile(
  file: CopyFileJob,
  job: CopyFilesJob,
  target: RepoTarget,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<CopiedFile> {
  const { name, known } = file
  const vanished = (): CopiedFile => {
    if (file.control) throw new PgtsError('file-missing', `${file.pgName} vanished while the backup was running`)
    return { name, outcome: 'vanished' }
  }
  if (known?.first === true) {
    const source = await openForCopy(file, env)
    if (source === undefined) return vanished()
    const content = digest('sha1')
    await pump(source, [content], nowhere, signal)
    if (content.bytes === file.sizeBytes && content.hex() === known.checksum) return { name, outcome: 'unchanged' }
  }

  let source = await openForCopy(file, env)
  if (source === undefined) return vanished()
  if (known !== undefined || job.bundle !== undefined) {
    // What a bundle has taken stays in it, so whatever need not be stored is better noticed before.
    const begin = await source.next()
    if (begin === undefined && job.bundle !== undefined) {
      await source[Symbol.asyncDispose]()
      return { name, outcome: 'emptied' }
    }
    if (known !== undefined && begin?.length === file.sizeBytes && sha1Of(begin) === known.checksum) {
      const atEnd = (await source.next()) === undefined
      await source[Symbol.asyncDispose]()
      if (atEnd) return { name, outcome: 'unchanged' }
      // It grew meanwhile, and its beginning is no longer in the buffer.
      source = await openForCopy(file, env)
      if (source === undefined) return vanished()
    } else {
      source = withFirst(begin, source)
    }
  }
  return await store(source, file, job, target, signal)
}

async function store(
  source: ClusterFileSource,
  file: CopyFileJob,
  job: CopyFilesJob,
  target: RepoTarget,
  signal: AbortSignal,
): Promise<CopiedFile> {
  const { name, known } = file
  const { bundle, codec, cipherPass } = job
  const original = digest('sha1')
  const pageCheck =
    file.firstBlock === undefined
      ? undefined
      : new PageCheck(source, {
          pageSize: job.pages.size,
          firstBlock: file.firstBlock,
          headerCheck: job.pages.headerCheck,
        })
  const raw = bundle?.raw === true
  const filters: Stage[] = []
  if (codec.type !== 'none') filters.push(compressor(codec.type, codec.level, { raw }))
  if (cipherPass !== undefined) filters.push(encryptor(cipherPass, { raw }))
  const stored = filters.length > 0 ? digest('sha1') : original
  const stages: Stage[] = pageCheck === undefined ? [original] : [pageCheck, original]
  if (filters.length > 0) stages.push(...filters, stored)

  const offset = target.bytes
  await pump(source, stages, target, signal)
  // A large file is compared while it is copied; what was written of it is thrown away.
  const same = known !== undefined && original.bytes === file.sizeBytes && original.hex() === known.checksum
  if (same && bundle === undefined) return { name, outcome: 'unchanged' }
  return {
    name,
    outcome: 'copied',
    sizeBytes: original.bytes,
    checksum: original.hex(),
    repoSizeBytes: stored.bytes,
    ...(filters.length > 0 ? { repoChecksum: stored.hex() } : {}),
    ...(bundle === undefined ? {} : { bundle: { id: bundle.id, offset } }),
    ...(pageCheck === undefined ? {} : { pages: pageCheck.result() }),
  }
}

function sha1Of(bytes: Uint8Array): string {
  const content = digest('sha1')
  content.push(bytes)
  return content.hex()
}

const nowhere: ByteSink = { write: () => undefined }
