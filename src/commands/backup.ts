import { newPassphrase } from '../codec/cipher.ts'
import { archiveIdOf, currentHistory } from '../format/archive-info.ts'
import type { BackupInfo } from '../format/backup-info.ts'
import type { BackupType, Manifest, ManifestFile } from '../format/manifest.ts'
import { backupEntryOf } from '../format/manifest.ts'
import { backupLabelPath } from '../format/repo-path.ts'
import { parseWalSegment, segmentsBetween } from '../format/wal-segment.ts'
import { readArchiverState } from '../core/archive/archiver-state.ts'
import { waitForSegments, type ArchivedSegment } from '../core/archive/wait-for-wal.ts'
import { copyArchivedWal } from '../core/backup/archive-copy.ts'
import { assertSameCluster } from '../core/backup/cluster-match.ts'
import { commitBackup } from '../core/backup/commit.ts'
import { copyAll } from '../core/backup/copy-all.ts'
import { ManifestDraft } from '../core/backup/draft.ts'
import { draftHead } from '../core/backup/draft-head.ts'
import { newFullLabel } from '../core/backup/new-label.ts'
import { describePageErrors } from '../core/backup/page-errors.ts'
import { startOnServer, stopOnServer, timeMs, waitForNextSecond } from '../core/backup/server-side.ts'
import { storeReturnedFile, type BackupPlace } from '../core/backup/stored-text.ts'
import { loadArchiveInfo, loadBackupInfo, saveManifestCopy } from '../core/info-store.ts'
import { reconcileBackupInfo } from '../core/reconcile.ts'
import { checkServer } from '../core/stanza/check-config.ts'
import { readControlFile, type ControlFile } from '../postgres/control-file.ts'
import { listDataDirectory } from '../postgres/data-directory.ts'
import type { ServerConnection } from '../postgres/client.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import { connectCluster } from './connect.ts'
import type { CommandContext, Repository, StanzaLock } from './context.ts'
import { expireAfterBackup } from './expire.ts'

export interface BackupReport {
  readonly label: string
  readonly type: BackupType
  readonly repoKey: number
  readonly fileCount: number
  /** Content, bytes. */
  readonly sizeBytes: number
  /** As stored, bytes. */
  readonly repoSizeBytes: number
  readonly pageErrorFiles: readonly string[]
}

/** Take one backup of one cluster into one repository, then expire what retention no longer wants. */
export async function backup(ctx: CommandContext<'backup'>): Promise<BackupReport> {
  await using lock = await ctx.lock(['backup'])
  const repository = await chooseRepository(ctx)
  const report = await takeBackup(ctx, repository, lock)
  if (ctx.options.expireAuto) await expireAfterBackup(ctx, repository)
  return report
}

async function takeBackup(
  ctx: CommandContext<'backup'>,
  repository: Repository,
  lock: StanzaLock,
): Promise<BackupReport> {
  const { options, stanza, log, clock, signal } = ctx
  const { storage } = repository

  // What are we backing up? The stanza, the files and the server must all speak of the same cluster.
  const archiveInfo = await loadArchiveInfo(repository, stanza, { log, signal })
  const backupInfo = await reconcileBackupInfo(
    storage,
    stanza,
    await loadBackupInfo(repository, stanza, { log, signal }),
    log,
  )
  const history = currentHistory(backupInfo)
  const files = await ctx.cluster()
  const pgPath = textToBytes(options.pg[0]!.path)
  const readControl = () => readControlFile(files, pgPath, { signal })
  const control = await readControl()
  assertSameCluster(stanza, history, control)
  await using server = options.online ? await connectCluster(ctx) : undefined
  if (server === undefined) await refuseRunningServer(ctx, pgPath)
  else assertReady(ctx, server, control, pgPath)
  const type = chooseType(ctx, backupInfo)
  const checksumPage = choosePageChecks(ctx, control)

  // PostgreSQL is in backup mode from here until it is finished, or until this block is left, whatever happens.
  const timestampStart = Math.floor((await timeMs(server, clock)) / 1000)
  const wait = { storage, stanza, archiveId: archiveIdOf(currentHistory(archiveInfo)), clock, signal, log }
  const waitFor = (segments: Iterable<string>): Promise<ArchivedSegment[]> =>
    waitForSegments({
      ...wait,
      segments: [...segments].map(parseWalSegment),
      timeoutMs: options.archiveTimeout,
      repoKey: repository.key,
      ...(server === undefined ? {} : { archiver: () => readArchiverState(server, files, pgPath) }),
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

  // What is there to copy, and under which label?
  const listing = await listDataDirectory(files, pgPath, {
    postgres: control.postgres,
    catalogVersion: control.catalogVersion,
    online: options.online,
    exclude: (options.exclude ?? []).map(textToBytes),
    ...(started === undefined ? {} : { tablespaces: started.tablespaces }),
    log,
    signal,
  })
  const timestampCopyStart = await waitForNextSecond(server, clock, signal)
  const { label } = await newFullLabel(storage, stanza, timestampStart, signal)
  const codec = { type: options.compressType, level: options.compressLevel }
  // One passphrase for all files of a backup set: a full makes it, what builds on the full goes on with it.
  const cipherPass = backupInfo.cipherPass === undefined ? undefined : newPassphrase()
  const draft = new ManifestDraft(
    draftHead({
      label,
      type,
      timestampStart,
      timestampCopyStart,
      history,
      listing,
      ...(session === undefined ? {} : { start: session.start }),
      cipherPass,
      annotations: options.annotation ?? new Map(),
      options: {
        archiveCheck: options.archiveCheck,
        archiveCopy: options.archiveCopy,
        backupStandby: false,
        bufferSize: options.bufferSize,
        checksumPage,
        compress: codec.type !== 'none',
        compressLevel: codec.level,
        compressLevelNetwork: options.compressLevelNetwork,
        compressType: codec.type,
        delta: false,
        hardlink: false,
        online: options.online,
        processMax: options.processMax,
      },
    }),
    listing.files,
  )

  // Until the manifest itself is written, only its copy is there: no command takes this for a usable backup.
  await saveManifestCopy(storage, stanza, draft.partial(), backupInfo)
  await using executor = await ctx.executor(repository)
  const { pageErrors } = await copyAll(
    {
      storage,
      stanza,
      label,
      manifestKey: backupInfo,
      files: listing.files,
      policy: {
        codec,
        cipherPass,
        pages: checksumPage
          ? { size: control.pageSize, segmentBlocks: control.segmentBlocks, headerCheck: options.pageHeaderCheck }
          : undefined,
      },
      executor,
      saveThresholdBytes: options.manifestSaveThreshold,
      log,
      signal,
      progress: (progress) => lock.update(progress),
    },
    draft,
  )
  warnOfPageErrors(ctx, pageErrors)

  // The WAL up to here makes the copy consistent, so it belongs to the backup.
  await server?.ping()
  const stop = session === undefined ? undefined : await stopOnServer(session, log)
  const timestampStop = Math.floor((await timeMs(server, clock)) / 1000)
  const place: BackupPlace = { storage, stanza, label, codec, cipherPass, signal }
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
  const linkLatest = options.repo.find(({ key }) => key === repository.key)?.symlink === true
  log.info(`new backup label = ${label}`)
  await commitBackup(repository, stanza, { backupInfo, archiveInfo, linkLatest }, manifest)
  return reportOf(ctx, repository, manifest, pageErrors)
}

/** `--repo`, else the one with the lowest number. */
async function chooseRepository(ctx: CommandContext<'backup'>): Promise<Repository> {
  const repositories = await ctx.repositories()
  const [first] = repositories
  if (first === undefined) throw new PgtsError('assert', 'no repository is configured')
  if (repositories.length > 1) ctx.log.info(`repo option not specified, defaulting to repo${first.key}`)
  return first
}

/** [058], [067], [068], [087] unless this is the primary of our cluster and its WAL comes to us. */
function assertReady(
  ctx: CommandContext<'backup'>,
  server: ServerConnection,
  control: ControlFile,
  pgPath: string,
): void {
  const { options, log } = ctx
  const { facts } = server
  if (facts.inRecovery) {
    throw new PgtsError(
      'db-connect',
      `the server of ${options.pg[0]!.path} is a standby, and a backup needs the primary`,
      {
        hints: [
          'run the backup on the primary',
          'backup from a standby is not there yet; pgbackrest can do it (backup-standby)',
        ],
      },
    )
  }
  checkServer(
    facts,
    { version: control.version, pgPath },
    { archive: options.archiveCheck, archiveMode: options.archiveModeCheck },
  )
  if (!options.startFast && options.dbTimeout <= facts.checkpointTimeoutMs) {
    log.warn(
      `start-fast is disabled and db-timeout (${options.dbTimeout / 1000}s) is smaller than the server's checkpoint_timeout ` +
        `(${facts.checkpointTimeoutMs / 1000}s): the backup may time out before it starts`,
    )
  }
}

/** An offline copy of a running cluster is no backup: refused, unless the user insists. */
async function refuseRunningServer(ctx: CommandContext<'backup'>, pgPath: string): Promise<void> {
  const files = await ctx.cluster()
  if ((await files.stat(`${pgPath}/postmaster.pid`)) === undefined) return
  const path = ctx.options.pg[0]!.path
  if (ctx.options.force) {
    ctx.log.warn(
      `postmaster.pid exists in ${path}, but --force was given: this backup is consistent only if no server runs there`,
    )
    return
  }
  throw new PgtsError(
    'pg-running',
    `--no-online was given, but ${path}/postmaster.pid exists: PostgreSQL seems to be running`,
    {
      hints: ['stop the server, or leave out --no-online', 'use --force if you are sure that no server runs'],
    },
  )
}

/** Diff and incr do not exist yet. Whoever asked for one must know; whoever did not ask gets what there is. */
function chooseType(ctx: CommandContext<'backup'>, info: BackupInfo): BackupType {
  const { type } = ctx.options
  if (type === 'full') return 'full'
  const message = `${type} backups are not made yet by this version: this will be a full backup`
  if (ctx.isSet('type')) ctx.log.warn(message)
  else ctx.log.info(info.backups.length === 0 ? 'no prior backup exists: this will be a full backup' : message)
  return 'full'
}

function choosePageChecks(ctx: CommandContext<'backup'>, control: ControlFile): boolean {
  const has = control.dataChecksumVersion === 1
  const wanted = ctx.options.checksumPage ?? (ctx.options.online && has)
  if (wanted && !has)
    ctx.log.warn('checksum-page is on, but the cluster has no data checksums: pages will not be checked')
  return wanted && has
}

function warnOfPageErrors(ctx: CommandContext<'backup'>, files: readonly ManifestFile[]): void {
  for (const file of files) ctx.log.warn({ file: file.name }, describePageErrors(file))
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
  pageErrors: readonly ManifestFile[],
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
    pageErrorFiles: pageErrors.map(({ name }) => name),
  }
}
