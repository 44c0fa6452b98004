import { encryptor } from '../../codec/cipher.ts'
import { digest } from '../../codec/digest.ts'
import { pump } from '../../codec/pump.ts'
import { compressor, loadCodec } from '../../codec/registry.ts'
import type { Stage } from '../../codec/stage.ts'
import type { CompressType } from '../../format/manifest.ts'
import type { ClusterFileSource } from '../../postgres/cluster-access.ts'
import { readControlFile, zeroTailed } from '../../postgres/control-file.ts'
import { sourceOf } from '../../util/bytes.ts'
import { PgtsError } from '../../util/error.ts'
import type { WorkerEnv } from '../worker-env.ts'
import { PageCheck, type PageCheckResult } from './page-check.ts'

/** One file of the cluster on its way into the repository. */
export interface CopyFileJob {
  /** Manifest name. */
  readonly name: string
  /** Absolute path on the cluster's host, links resolved. */
  readonly pgName: string
  readonly repoName: string
  /** Size when the list was made, bytes. */
  readonly sizeBytes: number
  /** PostgreSQL may extend the file meanwhile; what lies beyond `sizeBytes` comes back from WAL. */
  readonly sizeLimited: boolean
  /** pg_control: read until its CRC is right, stored with a zero tail. */
  readonly control: boolean
  /** Verify page checksums; number of the file's first block within its relation. */
  readonly firstBlock?: number
}

/** A few files at a time, so that small ones do not cost a message each. */
export interface CopyFilesJob {
  readonly files: readonly CopyFileJob[]
  readonly codec: { readonly type: CompressType; readonly level: number }
  /** Byte string; absent: the repository is not encrypted. */
  readonly cipherPass?: string
  readonly pages: { readonly size: number; readonly headerCheck: boolean }
}

export type CopiedFile =
  | { readonly name: string; readonly vanished: true }
  | {
      readonly name: string
      readonly vanished?: false
      readonly sizeBytes: number
      readonly checksum: string
      readonly repoSizeBytes: number
      /** Of the stored bytes, when a filter changed them. */
      readonly repoChecksum?: string
      readonly pages?: PageCheckResult
    }

/** Job handler: copy files into the repository, hashed on both sides of the codec. */
export async function backupFiles(job: CopyFilesJob, env: WorkerEnv, signal: AbortSignal): Promise<CopiedFile[]> {
  await loadCodec(job.codec.type)
  const copied: CopiedFile[] = []
  for (const file of job.files) {
    signal.throwIfAborted()
    copied.push(await copyFile(file, job, env, signal))
  }
  return copied
}

async function copyFile(
  file: CopyFileJob,
  job: CopyFilesJob,
  env: WorkerEnv,
  signal: AbortSignal,
): Promise<CopiedFile> {
  const source = file.control ? await openControl(file, env) : await openData(file, env)
  if (source === undefined) {
    if (file.control) throw new PgtsError('file-missing', `${file.pgName} vanished while the backup was running`)
    return { name: file.name, vanished: true }
  }
  const original = digest('sha1')
  const pageCheck =
    file.firstBlock === undefined
      ? undefined
      : new PageCheck(source, {
          pageSize: job.pages.size,
          firstBlock: file.firstBlock,
          headerCheck: job.pages.headerCheck,
        })
  const stages: Stage[] = pageCheck === undefined ? [original] : [pageCheck, original]
  const filters: Stage[] = []
  if (job.codec.type !== 'none') filters.push(compressor(job.codec.type, job.codec.level))
  if (job.cipherPass !== undefined) filters.push(encryptor(job.cipherPass))
  const filtered = filters.length > 0
  const stored = filtered ? digest('sha1') : original
  if (filtered) stages.push(...filters, stored)

  // No manifest refers to this name before the backup is committed, and all directories are synced once before that.
  await using target = await env.storage.create(file.repoName, { unreferenced: true, signal })
  await pump(source, stages, target.sink, signal)
  await target.commit({ deferSync: true })
  return {
    name: file.name,
    sizeBytes: original.bytes,
    checksum: original.hex(),
    repoSizeBytes: stored.bytes,
    ...(filtered ? { repoChecksum: stored.hex() } : {}),
    ...(pageCheck === undefined ? {} : { pages: pageCheck.result() }),
  }
}

function openData(file: CopyFileJob, env: WorkerEnv): Promise<ClusterFileSource | undefined> {
  return env.files.open(file.pgName, {
    buffer: env.buffer,
    ...(file.sizeLimited ? { maxBytes: file.sizeBytes } : {}),
  })
}

async function openControl(file: CopyFileJob, env: WorkerEnv): Promise<ClusterFileSource> {
  const pgPath = file.pgName.slice(0, -'/global/pg_control'.length)
  const control = await readControlFile(env.files, pgPath)
  return { ...sourceOf(zeroTailed(control.bytes)), reread: () => Promise.resolve(Buffer.alloc(0)) }
}
