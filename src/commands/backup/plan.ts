import { ManifestDraft } from '../../core/backup/draft.ts'
import { draftHead } from '../../core/backup/draft-head.ts'
import { mayHaveTimesOfStandby, planIncrement, type Increment } from '../../core/backup/increment.ts'
import { newLabel } from '../../core/backup/new-label.ts'
import type { BackupInPlan, CopyPolicy } from '../../core/backup/plan.ts'
import type { PlannedFiles } from '../../core/backup/planned-files.ts'
import { findResumable, newestUnfinished, takeOver } from '../../core/backup/resume.ts'
import { timeOfListing, type ListedAt } from '../../core/backup/server-side.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { Manifest, ManifestOptions } from '../../format/manifest.ts'
import { backupPath } from '../../format/repo-path.ts'
import { listDataDirectory, type DataDirectoryListing } from '../../postgres/data-directory.ts'
import { listedOnce } from '../../storage/wrappers.ts'
import { textToBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { Executor, Work } from '../../worker/executor.ts'
import { isOnStandby, type BackupRun } from './begin.ts'
import { markHandled } from '../../util/mark-handled.ts'

export interface PlannedBackup {
  readonly backup: BackupInPlan
  readonly files: PlannedFiles
  /** The policy of the run, with the passphrase of the resumed backup. */
  readonly policy: CopyPolicy
  readonly draft: ManifestDraft
  readonly listedAt: ListedAt
}

export interface ListedCluster {
  readonly listing: DataDirectoryListing
  readonly listedAt: ListedAt
}

/** Lists the cluster of a backup that has begun. */
export async function listCluster(run: BackupRun): Promise<ListedCluster> {
  const listing = await listFiles(run)
  return { listing, listedAt: await timeOfListing(run.server, run.ctx.clock) }
}

/** Decides about every file, and determines the label or the interrupted backup to resume. */
export async function planBackup(
  run: BackupRun,
  { listing, listedAt }: ListedCluster,
  executor: Executor<typeof jobHandlers>,
): Promise<PlannedBackup> {
  const { ctx, repository, source, type, prior, timestampStart } = run
  const { options, stanza, log, signal } = ctx
  const { storage } = repository
  // The repository is listed while this thread plans.
  const listed = listedOnce(storage, backupPath(stanza))
  const nextLabel = newLabel(listed, stanza, { type, prior: prior?.label, timestampStart }, signal)
  const unfinished = newestUnfinished(listed, stanza, source.backupInfo, signal)
  // Awaited below; until then this avoids unhandled rejections.
  for (const pending of [nextLabel, unfinished]) markHandled(pending)

  executor.expect(likelyWork(listing, prior))
  const { timestampListed, timestampCopyStart } = listedAt
  const plan = planFiles(run, listing, timestampListed)
  executor.expect(
    workOf(plan.files, ({ action, file }) => (action === 'copy' || action === 'compare' ? file.sizeBytes : undefined)),
  )
  const interrupted = await findResumable({
    storage,
    stanza,
    unfinished: await unfinished,
    key: source.backupInfo,
    resume: options.resume,
    type,
    prior,
    compressType: run.policy.compression.type,
    catalogVersion: source.history.catalogVersion,
    log,
    signal,
  })
  const label = interrupted?.label ?? (await nextLabel).label
  const backup = {
    repoKey: run.repository.key,
    stanza,
    label,
    pgPath: source.cluster.pgPath,
    references: [...(prior?.references ?? []), label],
    timestampStart,
  }
  const policy =
    interrupted?.cipherPass === undefined ? run.policy : { ...run.policy, cipherPass: interrupted.cipherPass }
  const { files } = plan
  if (interrupted !== undefined)
    await takeOver(interrupted, files, { storage, backup, policy, delta: plan.delta, log, signal })
  const draft = draftManifest({ ...run, policy }, { backup, files, listing, delta: plan.delta, timestampCopyStart })
  return { backup, files, policy, draft, listedAt }
}

function listFiles({ ctx, source, started }: BackupRun): Promise<DataDirectoryListing> {
  const { options, log, signal } = ctx
  return listDataDirectory(source.cluster.files, source.cluster.pgPath, {
    postgres: source.control.postgres,
    catalogVersion: source.control.catalogVersion,
    online: options.online,
    exclude: (options.exclude ?? []).map(textToBytes),
    tablespaces: started?.tablespaces,
    log,
    signal,
  })
}

/** Files that are new or younger than the prior backup; others are copied as well if they differ. */
function likelyWork({ files }: DataDirectoryListing, prior: Manifest | undefined): Work {
  const sinceTimestamp = prior?.timestampCopyStart ?? -Infinity
  return workOf(files, ({ timestamp, sizeBytes }) => (timestamp < sinceTimestamp ? undefined : sizeBytes))
}

/** @param bytesOf size of a file; undefined: it is not copied */
function workOf<T>(files: Iterable<T>, bytesOf: (file: T) => number | undefined): Work {
  const work = { bytes: 0, files: 0, largestBytes: 0 }
  for (const file of files) {
    const bytes = bytesOf(file)
    if (bytes === undefined) continue
    work.bytes += bytes
    work.files++
    work.largestBytes = Math.max(work.largestBytes, bytes)
  }
  return work
}

function planFiles(run: BackupRun, listing: DataDirectoryListing, timestampListed: number): Increment {
  const { ctx, source, prior, started, policy } = run
  const foreignTimes = prior !== undefined && (isOnStandby(run) || mayHaveTimesOfStandby(prior))
  if (foreignTimes)
    ctx.log.info(
      `files are compared by checksum (delta): this backup or backup ${prior.label} has the file times of a standby`,
    )
  const plan = planIncrement(listing.files, prior, {
    pgPath: source.cluster.pgPath,
    delta: ctx.options.delta || foreignTimes,
    online: ctx.options.online,
    bundle: policy.bundle !== undefined,
    timestampListed,
    archiveStart: started?.session.start.walFile,
  })
  if (plan.deltaReason !== undefined)
    ctx.log.warn(
      `${plan.deltaReason}: files are compared by checksum (delta), because their timestamps are not reliable`,
    )
  assertSomethingToCopy(plan, prior)
  return plan
}

/** [055] if nothing has changed, for example if a stopped cluster is backed up twice. */
function assertSomethingToCopy(plan: Increment, prior: Manifest | undefined): void {
  for (const { action } of plan.files) if (action === 'copy' || action === 'compare') return
  throw new PgtsError(
    'file-missing',
    `no file has changed since backup ${prior?.label}, so there is nothing to back up`,
    {
      hints: ['use --type=full to take a full backup anyway'],
    },
  )
}

interface DraftParts {
  readonly backup: BackupInPlan
  readonly files: PlannedFiles
  readonly listing: DataDirectoryListing
  readonly delta: boolean
  readonly timestampCopyStart: number
}

function draftManifest(run: BackupRun, parts: DraftParts): ManifestDraft {
  const { ctx, source, type, prior, policy, started, timestampStart } = run
  const { backup, files, listing, delta, timestampCopyStart } = parts
  const head = draftHead({
    label: backup.label,
    type,
    prior: prior?.label,
    references: backup.references,
    policy,
    timestampStart,
    timestampCopyStart,
    history: source.history,
    listing,
    start: started?.session.start,
    annotations: ctx.options.annotation ?? new Map(),
    options: manifestOptions(run, delta),
  })
  return new ManifestDraft(head, files, source.standby === undefined ? undefined : timestampStart)
}

/** The options that pgBackRest records in a manifest. */
function manifestOptions(run: BackupRun, delta: boolean): ManifestOptions {
  const { policy, source } = run
  const { options } = run.ctx
  return {
    archiveCheck: options.archiveCheck,
    archiveCopy: options.archiveCopy || isOnStandby(run),
    backupStandby: source.standby !== undefined || isOnStandby(run),
    bufferSize: options.bufferSize,
    checksumPage: policy.pages !== undefined,
    compress: policy.compression.type !== 'none',
    compressLevel: policy.compression.level,
    compressLevelNetwork: options.compressLevelNetwork,
    compressType: policy.compression.type,
    delta,
    hardlink: false,
    online: options.online,
    processMax: options.processMax,
  }
}
