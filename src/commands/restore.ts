import { cleanAndPrepare, removeControl } from '../core/restore/clean.ts'
import { checkPlaces, confirmExisting, refuseOtherCluster, refuseRunningServer } from '../core/restore/check-target.ts'
import { copyBack } from '../core/restore/copy-back.ts'
import { finishRestore, MANIFEST_NAME } from '../core/restore/finish.ts'
import { layOut } from '../core/restore/layout.ts'
import { decideOwnership } from '../core/restore/owners.ts'
import { planRestore } from '../core/restore/plan.ts'
import { recoverySettings, restoreCommand, type RecoveryPolicy, type RestoreType } from '../core/restore/recovery.ts'
import { remap } from '../core/restore/remap.ts'
import { assertRestorable, withoutSkipped } from '../core/restore/restorable.ts'
import { scanTargets } from '../core/restore/scan-targets.ts'
import { selectSet, type RepositoryBackups, type SetRequest } from '../core/restore/select-set.ts'
import { makeDirectoryTree, removeEntry, statEntry, writeSmallFile } from '../core/restore/target-files.ts'
import { localTimeText, parseTimeTarget } from '../core/restore/time-target.ts'
import { checkTargetTimeline } from '../core/restore/timeline.ts'
import { preservedNames, writeRecovery } from '../core/restore/write-recovery.ts'
import { loadBackupInfo, loadManifest } from '../core/info-store.ts'
import { serialiseManifest, type Manifest } from '../format/manifest.ts'
import { parseLsn, timelineOf } from '../format/wal-segment.ts'
import { parseControlFile } from '../postgres/control-file.ts'
import { localOwnerIds } from '../postgres/owner-ids.ts'
import { bytesToText, textToBytes } from '../util/byte-string.ts'
import { PgtsError, toPlainError } from '../util/error.ts'
import { formatSize } from '../util/format-size.ts'
import type { CommandContext, Repository } from './context.ts'

export interface RestoreReport {
  readonly label: string
  readonly repoKey: number
  readonly type: RestoreType
  /** Data directory that was restored to. */
  readonly pgPath: string
  /** Of all files, and of those that had to be written. */
  readonly sizeBytes: number
  readonly restoredBytes: number
  readonly files: number
  readonly restored: number
  /** Were there already, proven equal. */
  readonly unchanged: number
  /** Entries that were not in the backup. */
  readonly removed: number
  readonly durationMs: number
}

/** Bring a cluster back from a repository, whole or only what differs. */
export async function restore(ctx: CommandContext<'restore'>): Promise<RestoreReport> {
  const { options, log, clock, signal, stanza } = ctx
  const startMs = clock.nowMs()
  const pgPath = localPgPath(ctx)
  await using lock = await ctx.lock(['restore'])

  // Nothing below may run over a live cluster, and nothing may be deleted that does not look like a cluster.
  refuseRunningServer(pgPath)
  const { existing, warning } = confirmExisting(pgPath, { delta: options.delta, force: options.force })
  if (warning !== undefined) log.warn(warning)

  // Which backup, and can it get to where it should?
  const repositories = await ctx.repositories()
  const request = requestedSet(ctx)
  const selected = selectSet(await readBackups(ctx, repositories), request.set, {
    warn: log.warn,
    showTime: localTimeText,
  })
  const { label } = selected.entry
  const repository = repositories.find(({ key }) => key === selected.repoKey)!
  const original = await loadManifest(repository.storage, stanza, label, { signal, log })
  await assertRestorable(original, label)
  const { online } = original.options
  const policy = recoveryPolicy(ctx, online, request.targetText)
  const major = Number.parseInt(original.db.version, 10)
  recoverySettings(policy, major) // what it refuses, it must refuse now
  if (online) await checkTimeline(ctx, repository, original, policy, major)
  log.info(
    `repo${repository.key}: restore backup set ${label}` +
      (online ? `, recovery will start at ${localTimeText(original.timestampStart)}` : ''),
  )

  // Where does everything go, and whose will it be?
  const remapped = remap(original, remapPolicy(ctx, pgPath))
  for (const { level, message } of remapped.notes) log[level](message)
  const layout = layOut(remapped.manifest)
  const uid = process.getuid?.() ?? 0
  const dataDirectory = statEntry(pgPath, { follow: true })
  const ownership = decideOwnership(original, {
    uid,
    gid: process.getgid?.() ?? 0,
    ...localOwnerIds(),
    ...(dataDirectory === undefined ? {} : { existing: dataDirectory }),
  })
  for (const message of ownership.warnings) log.warn(message)

  // May it go there?
  const preserved = policy.type === 'preserve' ? preservedNames(major) : []
  const skip = new Set([MANIFEST_NAME, ...preserved].map((name) => `${pgPath}/${name}`))
  refuseOtherCluster(pgPath, existing, { label, systemId: original.db.systemId }, systemIdOf)
  checkPlaces(layout, existing, uid, skip, (path) => log.detail(`check '${bytesToText(path)}' exists`))
  const manifest = withoutSkipped(
    remapped.manifest,
    { keepsRecoverySettings: preserved.length > 0 && major >= 12 },
    log.detail,
  )
  const data = manifest.paths.find(({ name }) => name === 'pg_data')!
  const own = { mode: data.mode & 0o644, owner: ownership.ownerOf(data) }
  if (dataDirectory === undefined) makeDirectoryTree(pgPath, data.mode, own.owner)
  const plan = planRestore(manifest, layout, scanTargets(manifest, layout, skip), existing)
  await using executor = await ctx.executor(repository)

  // From here the old cluster is gone: it cannot start until pg_control comes back as the very last thing.
  signal.throwIfAborted()
  removeEntry(`${textToBytes(options.spoolPath)}/archive/${textToBytes(stanza)}`)
  removeControl(pgPath, log)
  // It tells the next restore that this one did not finish, and of which cluster it was.
  writeSmallFile(`${pgPath}/${MANIFEST_NAME}`, serialiseManifest(manifest), own.mode, own.owner)
  if (existing.delta || existing.force) {
    for (const { path } of layout.places) log.info(`remove invalid files/links/paths from '${bytesToText(path)}'`)
  }
  cleanAndPrepare(plan, layout, ownership, log, signal)
  const copied = await copyBack({
    plan,
    manifest,
    stanza,
    ownership,
    executor,
    log,
    signal,
    progress: (progress) => lock.update(progress),
  })

  writeRecovery(
    policy,
    {
      pgPath,
      autoConfPath: layout.physicalPath('pg_data/postgresql.auto.conf'),
      major,
      ...own,
      when: localTimeText(Math.floor(clock.nowMs() / 1000)),
    },
    log,
  )
  signal.throwIfAborted()
  finishRestore(plan, layout, { online, log })
  log.info(`restore size = ${formatSize(plan.sizeBytes)}, file total = ${copied.files}`)
  return {
    label,
    repoKey: repository.key,
    type: policy.type,
    pgPath: bytesToText(pgPath),
    sizeBytes: plan.sizeBytes,
    ...copied,
    removed: plan.remove.length,
    durationMs: clock.nowMs() - startMs,
  }
}

function localPgPath(ctx: CommandContext<'restore'>): string {
  const path = ctx.options.pg[0]?.path
  if (path === undefined) throw new PgtsError('option-required', 'restore needs pg1-path to know where to restore to')
  return textToBytes(path).replace(/(.)\/+$/, '$1')
}

async function readBackups(
  ctx: CommandContext<'restore'>,
  repositories: readonly Repository[],
): Promise<RepositoryBackups[]> {
  const read: RepositoryBackups[] = []
  for (const { key, storage } of repositories) {
    try {
      read.push({ key, info: await loadBackupInfo(storage, ctx.stanza, { signal: ctx.signal, log: ctx.log }) })
    } catch (error) {
      ctx.signal.throwIfAborted()
      // Another repository may have what is asked for; when none has, the warning is part of the story.
      read.push({ key, problem: toPlainError(error).message })
    }
  }
  return read
}

/** What to look for in the repositories, and the recovery target in the words that the server will be given. */
function requestedSet(ctx: CommandContext<'restore'>): { set: SetRequest; targetText?: string } {
  const { options, log } = ctx
  const target = options.target
  const named: SetRequest | undefined =
    options.set === undefined || options.set === 'latest' ? undefined : { kind: 'set', label: options.set }
  if (target === undefined) return { set: named ?? { kind: 'latest' } }
  if (named !== undefined) return { set: named, targetText: target }
  switch (options.type) {
    case 'time': {
      const time = parseTimeTarget(target)
      if (time.assumedLocal) log.info(`time target '${target}' has no time zone: taken as local time, ${time.text}`)
      return { set: { kind: 'time', target: time.seconds, text: time.text }, targetText: time.text }
    }
    case 'lsn':
      return { set: { kind: 'lsn', target: parseLsn(target) }, targetText: target }
    default:
      return { set: { kind: 'latest' }, targetText: target }
  }
}

function recoveryPolicy(
  ctx: CommandContext<'restore'>,
  online: boolean,
  targetText: string | undefined,
): RecoveryPolicy {
  const { options } = ctx
  const typeGiven = ctx.commandLineFor('restore').some((argument) => /^--type(=|$)/.test(argument))
  return {
    // Nothing is to be recovered after an offline backup, unless that was asked for.
    type: !online && !typeGiven && options.type === 'default' ? 'none' : options.type,
    ...(targetText === undefined ? {} : { target: textToBytes(targetText) }),
    targetExclusive: options.targetExclusive === true,
    ...(options.targetAction === undefined ? {} : { targetAction: options.targetAction }),
    ...(options.targetTimeline === undefined ? {} : { targetTimeline: options.targetTimeline }),
    archiveMode: options.archiveMode,
    options: byteMap(options.recoveryOption),
    restoreCommand: restoreCommand(
      textToBytes(options.cmd ?? ctx.program),
      ctx.commandLineFor('archive-get').map(textToBytes),
    ),
  }
}

function remapPolicy(ctx: CommandContext<'restore'>, pgPath: string): Parameters<typeof remap>[1] {
  const { options } = ctx
  return {
    pgPath,
    tablespaceMap: byteMap(options.tablespaceMap),
    ...(options.tablespaceMapAll === undefined ? {} : { tablespaceMapAll: textToBytes(options.tablespaceMapAll) }),
    linkAll: options.linkAll,
    linkMap: byteMap(options.linkMap),
  }
}

async function checkTimeline(
  ctx: CommandContext<'restore'>,
  repository: Repository,
  manifest: Manifest,
  policy: RecoveryPolicy,
  major: number,
): Promise<void> {
  const { archiveStart, lsnStart } = manifest
  if (archiveStart === undefined || lsnStart === undefined) return
  // Without recovery, or with settings we do not know, there is nothing to check.
  if (policy.type === 'none' || policy.type === 'preserve') return
  await checkTargetTimeline(repository.storage, {
    stanza: ctx.stanza,
    archiveId: `${manifest.db.version}-${manifest.db.historyId}`,
    major,
    type: policy.type,
    ...(policy.targetTimeline === undefined ? {} : { targetTimeline: policy.targetTimeline }),
    backup: { label: manifest.label, timeline: timelineOf(archiveStart), lsnStart: parseLsn(lsnStart) },
    signal: ctx.signal,
  })
}

/** Undefined when the file is damaged: then it proves nothing. */
function systemIdOf(control: Buffer): bigint | undefined {
  try {
    return parseControlFile(control).systemId
  } catch {
    return undefined
  }
}

function byteMap(map: ReadonlyMap<string, string> | undefined): Map<string, string> {
  return new Map([...(map ?? [])].map(([key, value]) => [textToBytes(key), textToBytes(value)]))
}
