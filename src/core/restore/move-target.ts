import { formatLsn, type Lsn } from '../../format/wal-segment.ts'
import { asBytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { recoverySettings, updatedSettings, type RecoveryPolicy } from './recovery.ts'
import type { RecoveryTarget } from './recovery-target.ts'

/** How far a restored cluster has recovered. */
export interface ReplayPosition {
  /** End of the last replayed record; absent: nothing was replayed. */
  readonly lsn?: Lsn
  /** The last replayed commit, microseconds since the epoch; absent: unknown, or none. */
  readonly commitMicros?: number
  /** False if the time of the last commit cannot be known, because the server is not running. */
  readonly knowsCommits: boolean
}

/** The kinds of target to which recovery can be moved. */
export type MovedType = 'default' | 'lsn' | 'name' | 'time' | 'xid'

/**
 * Refuses [075] a target that recovery has passed: WAL is only replayed forward.
 *
 * @param restoreCommand the command that goes back, for a hint
 * @returns a warning if the position of the target is unknown
 */
export function assertForward(
  type: MovedType,
  target: RecoveryTarget | undefined,
  { lsn, commitMicros, knowsCommits }: ReplayPosition,
  restoreCommand: string,
): string | undefined {
  if (type === 'default' || target === undefined || lsn === undefined) return undefined
  const shown = `${type} '${bytesToText(target.text)}'`
  const back = (why: string) =>
    new PgtsError('backup-set-invalid', `cannot move the recovery target to ${shown}: ${why}`, {
      hints: ['WAL is only replayed forward: stop the server and restore again', `run: ${restoreCommand}`],
    })
  if (target.lsn !== undefined) {
    if (target.lsn <= lsn) throw back(`recovery has reached LSN ${formatLsn(lsn)}`)
    return undefined
  }
  if (target.seconds === undefined) {
    return (
      `it is not known whether ${shown} is after LSN ${formatLsn(lsn)}, which recovery has reached: ` +
      'if it is not, recovery continues to the end of the archive'
    )
  }
  if (!knowsCommits) {
    throw new PgtsError(
      'backup-set-invalid',
      `cannot move the recovery target to ${shown}: the time that recovery has reached is not known`,
      { hints: ['start the server, which pauses at its present target, and run the command again'] },
    )
  }
  if (commitMicros !== undefined && Math.round(target.seconds * 1e6) < commitMicros)
    throw back(`recovery has replayed a commit of ${isoTime(commitMicros)}`)
  return undefined
}

function isoTime(micros: number): string {
  const text = new Date(Math.floor(micros / 1000)).toISOString()
  return `${text.slice(0, 10)} ${text.slice(11, 19)}.${String(micros % 1_000_000).padStart(6, '0')}+00`
}

/** Settings that keep their value unless the command changes them. */
const KEPT = ['recovery_target_action', 'recovery_target_timeline'] as const

/**
 * The new content of the file with the recovery settings: the old target is commented out, the new one added. Other
 * settings, restore_command among them, stay.
 *
 * @param when local time as text
 */
export function movedSettings(content: string, policy: RecoveryPolicy, major: number, when: string): string {
  const settings = recoverySettings(policy, major)
  settings.delete('restore_command')
  for (const key of KEPT) {
    const value = settingIn(content, key)
    const isReplaced = settings.has(key) || value === undefined
    // Without a target, the action has no effect.
    if (!isReplaced && (policy.type !== 'default' || key !== 'recovery_target_action')) settings.set(key, value)
  }
  return updatedSettings(content, settings, { by: 'move-target', when })
}

/** The value of a setting, as the server reads it: of several the last one. */
export function settingIn(content: string, key: string): ByteString | undefined {
  const lines = new RegExp(`^[\\t ]*${key}[\\t ]*(?:=[\\t ]*|[\\t ])(?:'((?:[^'\\\\]|''|\\\\.)*)'|([^\\s'#]+))`, 'gim')
  const last = [...content.matchAll(lines)].at(-1)
  if (last === undefined) return undefined
  return asBytes(last[2] ?? (last[1] ?? '').replace(/''|\\(.)/g, (_, escaped: string | undefined) => escaped ?? "'"))
}
