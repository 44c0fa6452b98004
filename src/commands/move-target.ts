import { spawnSync } from 'node:child_process'
import { assertForward, movedSettings, type MovedType, type ReplayPosition } from '../core/restore/move-target.ts'
import { RECOVERY_SETTINGS_SINCE, type RecoveryPolicy } from '../core/restore/recovery.ts'
import { parseTarget, parseTargetTimeline, type RecoveryTarget } from '../core/restore/recovery-target.ts'
import { readSmallFile, realPath, statEntry, translate } from '../core/restore/file-system.ts'
import { readControlFile, isCheckpointInvalidated, type ControlFile } from '../postgres/control-file.ts'
import { recoveryMode } from '../postgres/recovery-mode.ts'
import { parseLsn } from '../format/wal-segment.ts'
import { bytes, bytesToText, textToBytes, type ByteString } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { attributesOf, replaceFile } from '../util/replace-file.ts'
import { zonedDateTime } from '../util/local-time.ts'
import type { CommandContext } from './context.ts'
import { checkMovedTarget } from './move-target/archive.ts'
import { commandThatGoesBack, restartHint } from './move-target/hints.ts'

type Context = CommandContext<'move-target'>

export interface MoveTargetReport {
  /** The file with the recovery settings. */
  readonly file: string
  readonly type: MovedType
  /** As written; absent: the end of the archive. */
  readonly target?: string
  readonly restarted: boolean
  /** What the operator does now, in one line. */
  readonly next: string
}

/** Move the recovery target of a restored cluster forward: write the new settings, and restart the server. */
export async function moveTarget(ctx: Context): Promise<MoveTargetReport> {
  const { options, log, clock, signal } = ctx
  const pgPath = textToBytes(options.pg[0]!.path!).replace(/(.)\/+$/, '$1')
  await using _lock = await ctx.lock()
  const target =
    options.target === undefined ? undefined : parseTarget(targetType(options.type), textToBytes(options.target))

  const { files } = await ctx.cluster()
  const control = await readControlFile(files, pgPath, { signal })
  const major = Number.parseInt(control.version, 10)
  refuseOtherModes(pgPath)
  const position = await replayPosition(ctx, pgPath, control)
  const unknown = assertForward(options.type, target, position, commandThatGoesBack(ctx, target))
  if (unknown !== undefined) log.warn(unknown)
  const policy = policyOf(ctx, target)
  await checkMovedTarget(ctx, { target, policy, control, position, major })

  const name = major >= RECOVERY_SETTINGS_SINCE ? 'postgresql.auto.conf' : 'recovery.conf'
  const file = realPath(bytes`${pgPath}/${name}`)
  const content = readSmallFile(file)?.toString('latin1') ?? ''
  const when = zonedDateTime(Math.floor(clock.nowMs() / 1000))
  replaceSettings(file, movedSettings(content, policy, major, when))
  const shown = target === undefined ? 'the end of the archive' : `${options.type} '${bytesToText(target.text)}'`
  log.info(`recovery target in '${bytesToText(file)}' is now ${shown}`)
  const restarted = restartServer(ctx)
  return {
    file: bytesToText(file),
    type: options.type,
    target: target === undefined ? undefined : bytesToText(target.text),
    restarted,
    next: restarted
      ? `recovery continues to ${shown}`
      : `recovery continues to ${shown} after a restart: ${restartHint(pgPath)}`,
  }
}

/** Mode and owner stay. */
function replaceSettings(file: ByteString, content: string): void {
  try {
    const attributes = statEntry(file) === undefined ? { mode: 0o600 } : attributesOf(file)
    replaceFile(file, Buffer.from(content, 'latin1'), attributes)
  } catch (error) {
    throw translate(error, 'file-write', `unable to write '${bytesToText(file)}'`)
  }
}

function targetType(type: MovedType) {
  if (type !== 'default') return type
  throw new PgtsError('option-invalid', 'option --target requires --type=lsn, name, time or xid')
}

function policyOf({ options }: Context, target: RecoveryTarget | undefined): RecoveryPolicy {
  const { targetTimeline, targetExclusive, targetAction } = options
  return {
    type: options.type,
    target: target?.text,
    targetExclusive: targetExclusive === true,
    targetAction,
    targetTimeline: targetTimeline === undefined ? undefined : parseTargetTimeline(textToBytes(targetTimeline)),
    archiveMode: 'preserve',
    options: new Map(),
    restoreCommand: bytes``,
  }
}

/** Only a server that recovers to a target has one. */
function refuseOtherModes(pgPath: ByteString): void {
  const mode = recoveryMode(pgPath)
  if (mode === 'archive-recovery') return
  const shown = bytesToText(pgPath)
  throw new PgtsError(
    'backup-set-invalid',
    mode === 'standby'
      ? `cannot move the recovery target of '${shown}': it is a standby`
      : `cannot move the recovery target of '${shown}': its recovery has ended, or it was not restored`,
    { hints: ['to recover to another point, stop the server and run restore --delta with the target'] },
  )
}

/** From the server if it runs, else from pg_control. */
async function replayPosition(ctx: Context, pgPath: ByteString, control: ControlFile): Promise<ReplayPosition> {
  if (readSmallFile(bytes`${pgPath}/postmaster.pid`) === undefined) {
    if (isCheckpointInvalidated(control)) return { knowsCommits: true }
    return { lsn: control.minRecoveryLsn === 0n ? undefined : control.minRecoveryLsn, knowsCommits: false }
  }
  await using server = await (await ctx.cluster()).connect()
  if (!server.facts.inRecovery) {
    throw new PgtsError('backup-set-invalid', 'cannot move the recovery target: the server has ended recovery', {
      hints: ['to recover to another point, stop the server and run restore --delta with the target'],
    })
  }
  const [row] = await server.query<{ lsn: string | null; micros: string | null }>(
    `select pg_catalog.pg_last_wal_replay_lsn()::text as lsn,
            (extract(epoch from pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::bigint::text as micros`,
  )
  return {
    lsn: row?.lsn == null ? undefined : parseLsn(row.lsn),
    commitMicros: row?.micros == null ? undefined : Number(row.micros),
    knowsCommits: true,
  }
}

function restartServer({ options, log }: Context): boolean {
  const { restartCmd } = options
  if (restartCmd === undefined) return false
  log.info(`restart the server: ${restartCmd}`)
  // A server that inherits a pipe of this process would keep it open.
  const { status, signal, error } = spawnSync('/bin/sh', ['-c', restartCmd], { stdio: 'ignore' })
  if (status === 0) return true
  const why = error?.message ?? (signal === null ? `exit code ${status}` : `signal ${signal}`)
  throw new PgtsError('execute', `cannot restart the server with '${restartCmd}': ${why}`, {
    hints: ['the new target is written: restart the server by hand'],
  })
}
