import { clusterPath, type ListedFile } from '../../postgres/data-directory.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { bytesToText, type Text } from '../../util/byte-string.ts'
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

export interface CopyRequest {
  readonly storage: StorageDriver
  readonly backup: BackupInPlan
  /** Encrypts the partial manifest in an encrypted repository; from backup.info. */
  readonly manifestKey: ManifestKey
  readonly files: LazyList<PlannedFile>
  readonly policy: CopyPolicy
  readonly executor: Executor<typeof jobHandlers>
  /** The partial manifest is saved each time this many bytes were copied. */
  readonly saveThresholdBytes: number
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called every tenth of the bytes. */
  progress(progress: LockProgress): void
  /** Called for each job. */
  copied?(doneBytes: number): void
}

/** Copies all planned files, records them in the draft, and reports progress. */
export async function copyAll(request: CopyRequest, draft: ManifestDraft): Promise<void> {
  const { storage, backup, files, log, signal } = request
  const totalBytes = bytesToRead(files)
  const saveEvery = Math.max(totalBytes / 100, request.saveThresholdBytes)
  let doneBytes = 0
  let savedBytes = 0
  let shownTenth = -1
  const shownPath = ({ name }: ListedFile) => bytesToText(clusterPath(backup.pgPath, name))

  const jobs = planCopyJobs(files, backup, request.policy)
  const save = () => saveManifestCopy(storage, backup.stanza, draft.partial(), request.manifestKey)
  try {
    for await (const { job, result, worker } of request.executor.run('backup-file', jobs, { signal, weightOf })) {
      for (const [place, { index, name }] of job.files.entries()) {
        const copied = result[place]!
        const { file } = files.at(index)!
        draft.record(index, copied)
        doneBytes += file.sizeBytes
        if (copied.outcome === 'copied' && copied.warning !== undefined) log.warn({ file: name }, copied.warning)
        if (log.enabled('detail'))
          log.detail({ process: worker }, describeCopy(shownPath(file), file, copied, share(doneBytes, totalBytes)))
      }
      request.copied?.(doneBytes)
      // The lock file is updated every tenth of a percent, which is precise enough for `info`.
      const tenth = totalBytes === 0 ? 0 : Math.floor((doneBytes / totalBytes) * 10)
      if (tenth > shownTenth) {
        shownTenth = tenth
        request.progress({ pctCplt: percent(doneBytes, totalBytes), sz: totalBytes, szCplt: doneBytes })
      }
      if (doneBytes - savedBytes >= saveEvery) {
        savedBytes = doneBytes
        await save()
      }
    }
  } catch (error) {
    // The next run can resume with the saved manifest. A failure here must not replace the first error.
    await save().catch(() => undefined)
    throw error
  }
  if (log.enabled('detail')) logTheRest(files, draft, shownPath, log)
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
function logTheRest(
  files: Iterable<PlannedFile>,
  draft: ManifestDraft,
  shownPath: (file: ListedFile) => Text,
  log: Logger,
): void {
  for (const { index, file, action } of files) {
    if (action === 'empty') log.detail(`store zero-length file ${shownPath(file)}`)
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
