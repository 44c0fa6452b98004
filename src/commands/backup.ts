import { loadCodec } from '../codec/registry.ts'
import { archiveIdOf, currentHistory } from '../format/archive-info.ts'
import type { BackupType, Manifest, ManifestFile } from '../format/manifest.ts'
import { backupEntryOf } from '../format/manifest.ts'
import { backupLabelPath } from '../format/repo-path.ts'
import { parseWalSegment, segmentsBetween } from '../format/wal-segment.ts'
import { waitForSegments, type ArchivedSegment } from '../core/archive/wait-for-wal.ts'
import { copyArchivedWal } from '../core/backup/archive-copy.ts'
import { commitBackup } from '../core/backup/commit.ts'
import { copyAll } from '../core/backup/copy-all.ts'
import { ManifestDraft } from '../core/backup/draft.ts'
import { draftHead } from '../core/backup/draft-head.ts'
import { planIncrement, type Increment } from '../core/backup/increment.ts'
import { makeRoomAfterFailure } from '../core/backup/make-room.ts'
import { newLabel } from '../core/backup/new-label.ts'
import { findResumable, newestUnfinished, takeOver } from '../core/backup/resume.ts'
import { startOnServer, stopOnServer, timeMs, waitForNextSecond } from '../core/backup/server-side.ts'
import { storeReturnedFile, type BackupPlace } from '../core/backup/stored-text.ts'
import { loadArchiveInfo, loadBackupInfo, saveManifestCopy } from '../core/info-store.ts'
import { reconcileBackupInfo } from '../core/reconcile.ts'
import { assertSameCluster } from '../core/stanza/check-info.ts'
import { readControlFile } from '../postgres/control-file.ts'
import { listDataDirectory } from '../postgres/data-directory.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import { choosePolicy, choosePriorFor, optionsOf } from './backup-choices.ts'
import { assertReady, refuseRunningServer } from './backup-ready.ts'
import { connectCluster } from './connect.ts'
import type { CommandContext, Repository, StanzaLock } from './context.ts'
import { refuseDamagedPages, warnOfDamagedPages } from './damaged-pages.ts'
import { expireAfterBackup } from './expire.ts'
import { walExplainer } from './explain-wal.ts'

export interface BackupReport {
  readonly label: string
  readonly type: BackupType
  readonly repoKey: number
  readonly fileCount: number
  /** Content, bytes. */
  readonly sizeBytes: number
  /** As stored, bytes. */
  readonly repoSizeBytes: number
  /** Manifest names of the files with damaged pages, in this backup or in those it refers to. */
  readonly pageErrorFiles: readonly string[]
}

/** Take one backup of one cluster into one repository, then expire in every repository, or in that of --repo. */
export async function backup(ctx: CommandContext<'backup'>): Promise<BackupReport> {
  await using lock = await ctx.lock()
  const repository = await chooseRepository(ctx)
  await using _lease = await ctx.lease(repository)
  const attempt: Attempt = {}
  const { report, damaged } = await takeBackup(ctx, repository, lock, attempt).catch(async (error: unknown) => {
    await makeRoomAfterFailure(repository.storage, ctx.stanza, attempt.label, error, ctx.log)
    throw error
  })
  refuseDamagedPages(ctx, report.label, damaged)
  if (ctx.options.expireAuto) await expireAfterBackup(ctx, lock)
  return report
}

/** What a backup had come to when it failed. */
interface Attempt {
  label?: string
}

async function takeBackup(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  lock: StanzaLock,
  attempt: Attempt,
): Promise<{ readonly report: BackupReport; readonly damaged: readonly ManifestFile[] }> {
  const { options, stanza, log, clock, signal } = ctx
  const { storage } = repository

  // What are we backing up? The stanza, the files and the server must all speak of the same cluster.
  const [archiveInfo, listed] = await Promise.all([
    loadArchiveInfo(repository, stanza, { log, signal }),
    loadBackupInfo(repository, stanza, { log, signal }),
  ])
  const backupInfo = await reconcileBackupInfo(storage, stanza, listed, log)
  const history = currentHistory(backupInfo)
  const files = await ctx.cluster()
  const pgPath = textToBytes(options.pg[0]!.path)
  const readControl = () => readControlFile(files, pgPath, { signal })
  const control = await readControl()
  assertSameCluster(repository, stanza, history, control, 'backup-mismatch')
  await using server = options.online ? await connectCluster(ctx) : undefined
  if (server === undefined) await refuseRunningServer(ctx, pgPath)
  else assertReady(ctx, server, control, pgPath)
  const { type, prior } = await choosePriorFor(ctx, storage, backupInfo)
  let policy = choosePolicy(ctx, repository, control, type, prior)
  // Before the server is in backup mode, and a backup directory exists.
  await loadCodec(policy.codec.type)

  // PostgreSQL is in backup mode from here until it is finished, or until this block is left, whatever happens.
  const timestampStart = Math.floor((await timeMs(server, clock)) / 1000)
  const wait = { storage, stanza, archiveId: archiveIdOf(currentHistory(archiveInfo)), clock, signal, log }
  const waitFor = (segments: Iterable<string>): Promise<ArchivedSegment[]> =>
    waitForSegments({
      ...wait,
      segments: [...segments].map(parseWalSegment),
      timeoutMs: options.archiveTimeout,
      repoKey: repository.key,
      explain: walExplainer(ctx, pgPath, server),
    })
  const started =
    server === undefined
      ? undefined
      : await startOnServer(server, { startFast: options.startFast, timeoutMs: options.dbTimeout, log }, readControl)
  await using session = started?.session
  if (started !== undefined && options.archiveCheck) {
    const which = started.firstSegment === started.session.start.walFile ? '' : 'prior '
    log.info(`check archive for ${which}segment ${started.firstSegment}`)
    await waitFor([started.firstSegment])
  }

  // What is there to copy, and under which label? The repository is asked, and workers start, while the server is waited for.
  await using executor = await ctx.executor(repository)
  if (storage.parallel !== undefined) executor.warm(type === 'full' ? executor.workers : 1)
  const nextLabel = newLabel(storage, stanza, type, prior?.label, timestampStart, signal)
  const unfinished = newestUnfinished(storage, stanza, signal)
  // Whoever comes to them hears of a failure.
  for (const asked of [nextLabel, unfinished]) asked.catch(() => undefined)
  const listing = await listDataDirectory(files, pgPath, {
    postgres: control.postgres,
    catalogVersion: control.catalogVersion,
    online: options.online,
    exclude: (options.exclude ?? []).map(textToBytes),
    ...(started === undefined ? {} : { tablespaces: started.tablespaces }),
    log,
    signal,
  })
  const { timestampListed, timestampCopyStart } = await waitForNextSecond(server, clock, signal)
  const plan = planIncrement(listing.files, prior, {
    delta: options.delta,
    online: options.online,
    bundle: policy.bundle !== undefined,
    timestampListed,
    ...(session === undefined ? {} : { archiveStart: session.start.walFile }),
  })
  if (plan.deltaReason !== undefined)
    log.warn(`${plan.deltaReason}: files are compared by checksum (delta), because their times prove nothing`)
  assertSomethingToCopy(plan, prior)
  const interrupted = await findResumable({
    storage,
    stanza,
    unfinished: await unfinished,
    key: backupInfo,
    resume: options.resume,
    type,
    prior,
    compressType: policy.codec.type,
    catalogVersion: history.catalogVersion,
    log,
    signal,
  })
  const label = interrupted?.label ?? (await nextLabel).label
  attempt.label = label
  const references = [...(prior?.references ?? []), label]
  const backup = { stanza, label, references, timestampStart }
  if (interrupted?.cipherPass !== undefined) policy = { ...policy, cipherPass: interrupted.cipherPass }
  const planned =
    interrupted === undefined
      ? plan.files
      : await takeOver(interrupted, plan.files, { storage, backup, policy, delta: plan.delta, log, signal })
  const draft = new ManifestDraft(
    draftHead({
      label,
      type,
      ...(prior === undefined ? {} : { prior: prior.label }),
      references,
      policy,
      timestampStart,
      timestampCopyStart,
      history,
      listing,
      ...(session === undefined ? {} : { start: session.start }),
      annotations: options.annotation ?? new Map(),
      options: {
        archiveCheck: options.archiveCheck,
        archiveCopy: options.archiveCopy,
        backupStandby: false,
        bufferSize: options.bufferSize,
        checksumPage: policy.pages !== undefined,
        compress: policy.codec.type !== 'none',
        compressLevel: policy.codec.level,
        compressLevelNetwork: options.compressLevelNetwork,
        compressType: policy.codec.type,
        delta: plan.delta,
        hardlink: false,
        online: options.online,
        processMax: options.processMax,
      },
    }),
    planned,
  )

  // Until the manifest itself is written, only its copy is there: no command takes this for a usable backup.
  await saveManifestCopy(storage, stanza, draft.partial(), backupInfo)
  await copyAll(
    {
      storage,
      backup,
      manifestKey: backupInfo,
      files: planned,
      policy,
      executor,
      saveThresholdBytes: options.manifestSaveThreshold,
      log,
      signal,
      progress: (progress) => lock.update(progress, repository.key),
    },
    draft,
  )
  const damaged = draft.damaged()
  await warnOfDamagedPages(ctx, damaged, started?.databases ?? [])

  // The WAL up to here makes the copy consistent, so it belongs to the backup.
  await server?.ping()
  const stop = session === undefined ? undefined : await stopOnServer(session, log)
  const timestampStop = Math.floor((await timeMs(server, clock)) / 1000)
  const place: BackupPlace = { storage, stanza, label, codec: policy.codec, cipherPass: policy.cipherPass, signal }
  if (stop !== undefined) {
    draft.add(await storeReturnedFile(place, 'backup_label', stop.backupLabel, draft.pgData, timestampStop))
    if (stop.tablespaceMap !== undefined)
      draft.add(await storeReturnedFile(place, 'tablespace_map', stop.tablespaceMap, draft.pgData, timestampStop))
  }
  if (session !== undefined && stop !== undefined && options.archiveCheck) {
    const [first, last] = [parseWalSegment(session.start.walFile), parseWalSegment(stop.walFile)]
    log.info(`check archive for segment(s) ${first}:${last}`)
    const segments = await waitFor(segmentsBetween(first, last, control.walSegmentSize))
    if (options.archiveCopy)
      for await (const file of copyArchivedWal(place, archiveInfo, segments, draft.pgData, timestampStop))
        draft.add(file)
  }

  const manifest = draft.complete({
    timestampStop,
    databases: started?.databases ?? [],
    ...(stop === undefined ? {} : { archiveStop: stop.walFile, lsnStop: stop.lsn }),
  })
  assertCopiedControl(manifest, backupLabelPath(stanza, label))
  log.info(`new backup label = ${label}`)
  await commitBackup(
    repository,
    stanza,
    { backupInfo, archiveInfo, linkLatest: optionsOf(ctx, repository).symlink },
    manifest,
  )
  return { report: reportOf(ctx, repository, manifest, damaged), damaged }
}

/** `--repo`, else the one with the lowest number. */
async function chooseRepository(ctx: CommandContext<'backup'>): Promise<Repository> {
  const repositories = await ctx.repositories()
  const [first] = repositories
  if (first === undefined) throw new PgtsError('assert', 'no repository is configured')
  if (repositories.length > 1) ctx.log.info(`repo option not specified, defaulting to repo${first.key}`)
  return first
}

/** [055] when nothing has changed: it happens when a stopped cluster is backed up twice. */
function assertSomethingToCopy(plan: Increment, prior: Manifest | undefined): void {
  if (plan.files.some(({ action }) => action === 'copy' || action === 'compare')) return
  throw new PgtsError(
    'file-missing',
    `no file has changed since backup ${prior?.label}, so there is nothing to back up`,
    {
      hints: ['a full backup (--type=full) is always possible'],
    },
  )
}

/** Without pg_control nothing can be restored; it may have been excluded. */
function assertCopiedControl(manifest: Manifest, place: string): void {
  if (manifest.files.some(({ name }) => name === 'pg_data/global/pg_control')) return
  throw new PgtsError('file-missing', `global/pg_control is not in the backup ${place}`, {
    hints: ['is it named by the option exclude?'],
  })
}

function reportOf(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  manifest: Manifest,
  damaged: readonly ManifestFile[],
): BackupReport {
  const entry = backupEntryOf(manifest)
  const { label, type, files } = manifest
  ctx.log.info(
    { label, sizeBytes: entry.sizeDeltaBytes, repoSizeBytes: entry.repoSizeDeltaBytes },
    `${type} backup size = ${formatSize(entry.sizeDeltaBytes)}, file total = ${files.length}`,
  )
  return {
    label,
    type,
    repoKey: repository.key,
    fileCount: files.length,
    sizeBytes: entry.sizeDeltaBytes,
    repoSizeBytes: entry.repoSizeDeltaBytes,
    pageErrorFiles: damaged.map(({ name }) => name),
  }
}
