import type { RecoveryPolicy } from '../core/restore/recovery.ts'
import { restoreCommand } from '../core/restore/recovery.ts'
import type { RemapPolicy } from '../core/restore/remap.ts'
import type { DatabaseChoice } from '../core/restore/selective.ts'
import type { SetRequest } from '../core/restore/select-set.ts'
import { parseTimeTarget } from '../core/restore/time-target.ts'
import { parseLsn } from '../format/wal-segment.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'

/** The options of restore in the terms of the engine: texts become byte strings, and choices are made once. */
type Context = CommandContext<'restore'>

/** Restore writes on this host only. */
export function localPgPath({ options }: Context): string {
  const path = options.pg[0]?.path
  if (path === undefined) throw new PgtsError('option-required', 'restore needs pg1-path to know where to restore to')
  return textToBytes(path).replace(/(.)\/+$/, '$1')
}

/** What to look for in the repositories, and the recovery target in the words that the server will be given. */
export function requestedSet({ options, log }: Context): { readonly set: SetRequest; readonly targetText?: string } {
  const { target } = options
  const named: SetRequest | undefined =
    options.set === undefined || options.set === 'latest' ? undefined : { kind: 'set', label: options.set }
  if (target === undefined) return { set: named ?? { kind: 'latest' } }
  if (named !== undefined) return { set: named, targetText: target }
  switch (options.type) {
    case 'time': {
      const time = parseTimeTarget(target)
      if (time.assumedLocal) log.info(`target time '${target}' has no time zone: taken as local time, ${time.text}`)
      return { set: { kind: 'time', target: time.seconds, text: time.text }, targetText: time.text }
    }
    case 'lsn':
      return { set: { kind: 'lsn', target: parseLsn(target) }, targetText: target }
    default:
      return { set: { kind: 'latest' }, targetText: target }
  }
}

/** @param online was the backup taken of a running server? */
export function recoveryPolicy(ctx: Context, online: boolean, targetText: string | undefined): RecoveryPolicy {
  const { options } = ctx
  return {
    // After an offline backup nothing is to be recovered, unless that was asked for.
    type: online || ctx.isSet('type') ? options.type : 'none',
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

export function remapPolicy({ options }: Context, pgPath: string): RemapPolicy {
  return {
    pgPath,
    tablespaceMap: byteMap(options.tablespaceMap),
    ...(options.tablespaceMapAll === undefined ? {} : { tablespaceMapAll: textToBytes(options.tablespaceMapAll) }),
    linkAll: options.linkAll,
    linkMap: byteMap(options.linkMap),
  }
}

export function databaseChoice({ options }: Context): DatabaseChoice {
  return { include: (options.dbInclude ?? []).map(textToBytes), exclude: (options.dbExclude ?? []).map(textToBytes) }
}

function byteMap(map: ReadonlyMap<string, string> | undefined): Map<string, string> {
  return new Map([...(map ?? [])].map(([key, value]) => [textToBytes(key), textToBytes(value)]))
}
