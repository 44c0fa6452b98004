import { setMaxListeners } from 'node:events'
import type { ManifestFile } from '../../format/manifest.ts'
import { clusterPath, type ListedFile } from '../../postgres/data-directory.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { bytesToText, type ByteString, type Text } from '../../util/byte-string.ts'
import type { LazyList } from '../../util/lazy-list.ts'
import type { LockProgress } from '../../util/lock.ts'
import type { Logger } from '../../util/log.ts'
import { formatSize } from '../../util/format-size.ts'
import type { Executor } from '../../worker/executor.ts'
import type { ManifestKey } from '../info-cipher.ts'
import { saveManifestCopy } from '../manifest-store.ts'
import type { jobHandlers } from '../jobs.ts'
import type { CopiedFile, CopyFilesJob } from './copy-job.ts'
import type { ManifestDraft } from './draft.ts'
import type { PlannedFile } from './increment.ts'
import { planCopyJobs, type BackupInPlan, type CopyPolicy } from './plan.ts'
import { settledFirst } from './settled-first.ts'
import { SpareThreads } from './spare-threads.ts'

/** Files that one executor reads from one cluster. */
export interface CopyRun {
  readonly executor: Executor<typeof jobHandlers>
  /** Data directory of the cluster. */
  readonly pgPath: ByteString
  readonly includes: (file: ListedFile) => boolean
}

export interface CopyRequest {
  readonly storage: StorageDriver
  readonly backup: BackupInPlan
  /** Encrypts the partial manifest in an encrypted repository; from backup.info. */
  readonly manifestKey: ManifestKey
  readonly files: LazyList<PlannedFile>
  readonly policy: CopyPolicy
  /** Each file belongs to one run. The runs of a stage are concurrent; a stage begins when the previous one has ended. */
  readonly stages: readonly (readonly CopyRun[])[]
  /** Files whose time is not earlier, in seconds since the epoch, are copied only after `nextSecond`. */
  readonly settledBefore: number
  readonly nextSecond: Promise<void>
  /** The partial manifest is saved each time this many bytes were copied. */
  readonly saveThresholdBytes: number
  /** Called with the entry of each file that was read. Absent: faster. */
  readonly check?: (file: ManifestFile) => void
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called every tenth of the bytes. */
  progress(progress: LockProgress): void
  /** Called for each job. */
  copied?(doneBytes: number): void
}

/** Copies all planned files, records them in the draft, and reports progress. */
export async function copyAll(request: CopyRequest, draft: ManifestDraft): Promise<void> {
  const copying = new Copying(request, draft)
  try {
    for (const runs of request.stages) await copying.stage(runs)
  } catch (error) {
    // The next run can resume with the saved manifest. A failure here must not replace the first error.
    await copying.save().catch(() => undefined)
    throw error
  }
  if (request.log.enabled('detail')) logTheRest(request, draft)
}

class Copying {
  readonly #request: CopyRequest
  readonly #draft: ManifestDraft
  readonly #bundles = { last: 0 }
  readonly #threads = new Map<CopyRun['executor'], SpareThreads>()
  readonly #totalBytes: number
  readonly #saveEvery: number
  #doneBytes = 0
  #savedBytes = 0
  #shownTenth = -1
  #saving: Promise<void> = Promise.resolve()

  constructor(request: CopyRequest, draft: ManifestDraft) {
    this.#request = request
    this.#draft = draft
    this.#totalBytes = bytesToRead(request.files)
    this.#saveEvery = Math.max(this.#totalBytes / 100, request.saveThresholdBytes)
  }

  /** Copies the files of all these runs. The first failure ends the others. */
  async stage(runs: readonly CopyRun[]): Promise<void> {
    const { signal } = this.#request
    const [only] = runs
    if (runs.length === 1 && only !== undefined) return this.#copy(only, signal)
    const failed = new AbortController()
    const either = AbortSignal.any([signal, failed.signal])
    // Every request adds a listener; Node would report a leak on stderr.
    setMaxListeners(0, either)
    await Promise.all(runs.map((run) => this.#copy(run, either).catch((error: unknown) => failed.abort(error))))
    failed.signal.throwIfAborted()
  }

  async #copy({ executor, pgPath, includes }: CopyRun, signal: AbortSignal): Promise<void> {
    const { files, backup, policy, settledBefore, nextSecond } = this.#request
    const threads = this.#threadsOf(executor)
    const jobsOf = (wanted: CopyRun['includes']) =>
      planCopyJobs(files, { ...backup, pgPath }, policy, { includes: wanted, bundles: this.#bundles, threads })
    const jobs = settledFirst(
      jobsOf((file) => file.timestamp < settledBefore && includes(file)),
      jobsOf((file) => file.timestamp >= settledBefore && includes(file)),
      nextSecond,
    )
    for await (const { job, result, worker } of executor.run('backup-file', jobs, { signal, weightOf })) {
      this.#record(job, result, { pgPath, worker })
      if (this.#doneBytes - this.#savedBytes < this.#saveEvery) continue
      this.#savedBytes = this.#doneBytes
      await this.save()
    }
  }

  #threadsOf(executor: CopyRun['executor']): SpareThreads {
    const threads = this.#threads.get(executor) ?? new SpareThreads(executor.workers, this.#totalBytes)
    this.#threads.set(executor, threads)
    return threads
  }

  #record(job: CopyFilesJob, result: readonly CopiedFile[], from: { pgPath: ByteString; worker: number }): void {
    const { files, log, check } = this.#request
    for (const [place, { index, name }] of job.files.entries()) {
      const copied = result[place]!
      const { file } = files.at(index)!
      this.#draft.record(index, copied)
      const entry = check === undefined ? undefined : this.#draft.entry(index)
      if (entry !== undefined) check?.(entry)
      this.#doneBytes += file.sizeBytes
      if (copied.outcome === 'copied' && copied.warning !== undefined) log.warn({ file: name }, copied.warning)
      if (!log.enabled('detail')) continue
      const path = shownPath(from.pgPath, file)
      const done = share(this.#doneBytes, this.#totalBytes)
      log.detail({ process: from.worker }, describeCopy(path, file, copied, done))
    }
    this.#report()
  }

  /** The lock file is updated every tenth of the bytes, which is precise enough for `info`. */
  #report(): void {
    const [done, total] = [this.#doneBytes, this.#totalBytes]
    this.#request.copied?.(done)
    const tenth = total === 0 ? 0 : Math.floor((done / total) * 10)
    if (tenth <= this.#shownTenth) return
    this.#shownTenth = tenth
    this.#request.progress({ pctCplt: percent(done, total), sz: total, szCplt: done })
  }

  /** Saves the partial manifest; one at a time, because concurrent runs save to one file. */
  save(): Promise<void> {
    const { storage, backup, manifestKey } = this.#request
    const save = () => saveManifestCopy(storage, backup.stanza, this.#draft.partial(), manifestKey)
    const saved = this.#saving.then(save)
    this.#saving = saved.catch(() => undefined)
    return saved
  }
}

function shownPath(pgPath: ByteString, { name }: ListedFile): Text {
  return bytesToText(clusterPath(pgPath, name))
}

export function bytesToRead(files: Iterable<PlannedFile>): number {
  let bytes = 0
  for (const { action, file } of files) if (action === 'copy' || action === 'compare') bytes += file.sizeBytes
  return bytes
}

/** Cost of opening and closing a file, as the number of bytes of a large file that take the same time. */
const FILE_BYTES = 16 * 1024

function weightOf({ files }: CopyFilesJob): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, files.length * FILE_BYTES)
}

/** Logs files that were not read, and files that are equal to those of the prior backup. */
function logTheRest({ files, backup, log }: CopyRequest, draft: ManifestDraft): void {
  for (const { index, file, action } of files) {
    if (action === 'empty') log.detail(`store zero-length file ${shownPath(backup.pgPath, file)}`)
    const reference = draft.entry(index)?.reference
    if (reference !== undefined) log.detail(`reference ${bytesToText(file.name)} to ${reference}`)
  }
}

function describeCopy(path: Text, source: ListedFile, copied: CopiedFile, share: string): string {
  const size = formatSize(source.sizeBytes)
  switch (copied.outcome) {
    case 'vanished':
      return `skip file removed by database ${path}`
    case 'unchanged':
      return `match file from prior backup ${path} (${size}, ${share})`
    case 'resumed':
      return `checksum resumed file ${path} (${size}, ${share})`
    case 'emptied':
      return `store truncated file ${path} (${size}->0B, ${share})`
    case 'copied': {
      const bundle = copied.bundle === undefined ? '' : `bundle ${copied.bundle.id}/${copied.bundle.offset}, `
      const changed = copied.sizeBytes === source.sizeBytes ? '' : `${size}->`
      const checksum = copied.sizeBytes === 0 ? '' : ` checksum ${copied.checksum}`
      return `backup file ${path} (${bundle}${changed}${formatSize(copied.sizeBytes)}, ${share})${checksum}`
    }
  }
}

function share(doneBytes: number, totalBytes: number): string {
  return `${(percent(doneBytes, totalBytes) / 100).toFixed(2)}%`
}

/** In hundredths of a percent, the unit of the lock file. */
function percent(doneBytes: number, totalBytes: number): number {
  return totalBytes === 0 ? 10_000 : Math.floor((doneBytes / totalBytes) * 10_000)
}
