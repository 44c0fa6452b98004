import type { RecoveryPolicy } from '../../core/restore/recovery.ts'
import { restoreCommand } from '../../core/restore/recovery.ts'
import { parseTarget, parseTargetTimeline, type RecoveryTarget } from '../../core/restore/recovery-target.ts'
import type { RemapPolicy } from '../../core/restore/remap.ts'
import type { DatabaseChoice } from '../../core/restore/selective.ts'
import type { SetRequest } from '../../core/restore/select-set.ts'
import { hasUnknownZone } from '../../core/restore/time-target.ts'
import { bytesToText, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

/** The options of restore as arguments of the engine, with byte strings. */
type Context = CommandContext<'restore'>

/** Restore writes on this host only. */
export function localPgPath({ options }: Context): ByteString {
  const path = options.pg[0]?.path
  if (path === undefined)
    throw new PgtsError('option-required', 'restore requires pg1-path, the directory to restore to')
  return textToBytes(path).replace(/(.)\/+$/, '$1')
}

/** The request for a backup set, and the recovery target as the server receives it (a byte string). */
export interface RequestedSet {
  readonly set: SetRequest
  readonly target?: RecoveryTarget
}

export function requestedSet(ctx: Context): RequestedSet {
  const { set: label } = ctx.options
  const named: SetRequest | undefined = label === undefined || label === 'latest' ? undefined : { kind: 'set', label }
  const target = recoveryTarget(ctx, named !== undefined)
  if (target === undefined) return { set: named ?? { kind: 'latest' } }
  if (named !== undefined) return { set: named, target }
  const { seconds, lsn, text } = target
  if (seconds !== undefined) return { set: { kind: 'time', target: seconds, text }, target }
  if (lsn !== undefined) return { set: { kind: 'lsn', target: lsn }, target }
  return { set: { kind: 'latest' }, target }
}

function recoveryTarget({ options, log }: Context, isSetNamed: boolean): RecoveryTarget | undefined {
  const { target, type } = options
  if (target === undefined) return undefined
  // The option target depends on these types.
  if (type !== 'time' && type !== 'lsn' && type !== 'name' && type !== 'xid') return undefined
  if (type === 'time' && isSetNamed && hasUnknownZone(target)) {
    // The target is not needed to choose a set, and pgbackrest passes it on unchanged.
    log.warn(`target time '${target}' has a time zone that only the server can interpret: it is not checked`)
    return { text: textToBytes(target.trim()) }
  }
  const parsed = parseTarget(type, textToBytes(target))
  if (parsed.assumedLocal === true) {
    log.info(`target time '${target}' has no time zone and is interpreted as local time: ${bytesToText(parsed.text)}`)
  }
  return parsed
}

/** @param online true if the backup was taken from a running server */
export function recoveryPolicy(ctx: Context, online: boolean, target: RecoveryTarget | undefined): RecoveryPolicy {
  const { options } = ctx
  return {
    // After an offline backup there is no recovery unless --type is given.
    type: online || ctx.isSet('type') ? options.type : 'none',
    target: target?.text,
    targetExclusive: options.targetExclusive === true,
    targetAction: options.targetAction,
    targetTimeline:
      options.targetTimeline === undefined ? undefined : parseTargetTimeline(textToBytes(options.targetTimeline)),
    archiveMode: options.archiveMode,
    options: byteMap(options.recoveryOption),
    restoreCommand: restoreCommand(
      textToBytes(options.cmd ?? ctx.program),
      ctx.commandLineFor('archive-get').map(textToBytes),
    ),
  }
}

export function remapPolicy({ options }: Context, pgPath: ByteString): RemapPolicy {
  return {
    pgPath,
    tablespaceMap: byteMap(options.tablespaceMap),
    tablespaceMapAll: options.tablespaceMapAll === undefined ? undefined : textToBytes(options.tablespaceMapAll),
    linkAll: options.linkAll,
    linkMap: byteMap(options.linkMap),
  }
}

export function databaseChoice({ options }: Context): DatabaseChoice {
  return { include: (options.dbInclude ?? []).map(textToBytes), exclude: (options.dbExclude ?? []).map(textToBytes) }
}

function byteMap(map: ReadonlyMap<string, string> | undefined): Map<ByteString, ByteString> {
  return new Map([...(map ?? [])].map(([key, value]) => [textToBytes(key), textToBytes(value)]))
}
