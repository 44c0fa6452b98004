import { asBytes, bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { checkedSetting } from './recovery-target.ts'

export const RESTORE_TYPES = [
  'default',
  'immediate',
  'lsn',
  'name',
  'none',
  'preserve',
  'standby',
  'time',
  'xid',
] as const
export type RestoreType = (typeof RESTORE_TYPES)[number]

/** How the restored cluster recovers. Texts are byte strings. */
export interface RecoveryPolicy {
  readonly type: RestoreType
  /** For the types lsn, name, time and xid. */
  readonly target?: ByteString
  readonly targetExclusive: boolean
  readonly targetAction?: 'pause' | 'promote' | 'shutdown'
  readonly targetTimeline?: ByteString
  readonly archiveMode: 'preserve' | 'off'
  /** Settings given by the user; `-` in a name is replaced by `_`. */
  readonly options: ReadonlyMap<ByteString, ByteString>
  readonly restoreCommand: ByteString
}

/** From this version on recovery uses settings and signal files; earlier versions use recovery.conf. */
export const RECOVERY_SETTINGS_SINCE = 12

/**
 * The recovery settings, in the order in which they are written.
 *
 * @param major of PostgreSQL: 9, 10, 15
 * Throws `option-invalid` [031] for settings that this version does not have: call it before anything is written.
 */
export function recoverySettings(policy: RecoveryPolicy, major: number): Map<string, ByteString> {
  const modern = major >= RECOVERY_SETTINGS_SINCE
  const settings = new Map<string, ByteString>()
  if (policy.type === 'none' || policy.type === 'preserve') return settings

  for (const [key, value] of ownSettings(policy.options, major)) settings.set(key, value)
  if (policy.archiveMode === 'off') {
    if (!modern) {
      throw new PgtsError('option-invalid', `archive-mode=off needs PostgreSQL ${RECOVERY_SETTINGS_SINCE} or later`, {
        hints: ["set archive_mode to 'off' in postgresql.conf before the restored cluster starts"],
      })
    }
    settings.set('archive_mode', asBytes('off'))
  }
  if (!settings.has('restore_command')) settings.set('restore_command', policy.restoreCommand)

  switch (policy.type) {
    case 'immediate':
      settings.set('recovery_target', asBytes('immediate'))
      break
    case 'standby':
      if (!modern) settings.set('standby_mode', asBytes('on'))
      break
    case 'lsn':
    case 'name':
    case 'time':
    case 'xid':
      if (policy.target === undefined) {
        throw new PgtsError('option-required', `type=${policy.type} requires a target`, {
          hints: [`set the point where recovery stops with --target`],
        })
      }
      settings.set(`recovery_target_${policy.type}`, policy.target)
      if (policy.targetExclusive) settings.set('recovery_target_inclusive', asBytes('false'))
      break
    case 'default':
  }
  if (policy.targetAction !== undefined && policy.targetAction !== 'pause') {
    settings.set('recovery_target_action', asBytes(policy.targetAction))
  }
  if (policy.targetTimeline !== undefined) {
    // Before 12 'current' was the default, and the explicit value 'current' meant 'latest'.
    if (modern || policy.targetTimeline !== 'current') settings.set('recovery_target_timeline', policy.targetTimeline)
  } else if (policy.type === 'immediate' && modern) {
    // No timeline switch happens, but the server would not start if the latest timeline did not match the backup.
    settings.set('recovery_target_timeline', asBytes('current'))
  }
  refuseSeveralTargets(settings)
  // Refuses values that cannot be written, before any file is overwritten.
  for (const value of settings.values()) quoteSetting(value)
  return settings
}

/** The settings of recovery-option, by name. */
function ownSettings(options: RecoveryPolicy['options'], major: number): Map<string, ByteString> {
  const settings = new Map<string, ByteString>()
  const own = [...options].map(([key, value]) => [key.replace(/-/g, '_'), value] as const)
  for (const [key, value] of own.sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!/^[A-Za-z_][A-Za-z0-9_.$]*$/.test(key)) {
      throw new PgtsError('option-invalid', `recovery-option '${bytesToText(key)}' is not the name of a setting`)
    }
    refuseUnknown(key, major)
    if (major >= RECOVERY_SETTINGS_SINCE && key === 'standby_mode') {
      throw new PgtsError(
        'option-invalid',
        `'standby_mode' is not a setting of PostgreSQL ${RECOVERY_SETTINGS_SINCE} and later`,
        {
          hints: ['use --type=standby instead of --recovery-option=standby_mode=on'],
        },
      )
    }
    settings.set(key, checkedSetting(key, withSingleQuotes(value)))
  }
  return settings
}

/** pgBackRest writes these values as they are, so its users double the quotes; a value without pairs is taken literally. */
function withSingleQuotes(value: ByteString): ByteString {
  return asBytes(/^(?:[^']|'')*$/.test(value) ? value.replaceAll("''", "'") : value)
}

const TARGETS = ['', '_lsn', '_name', '_time', '_xid'].map((kind) => `recovery_target${kind}`)

/** Version 12 and later do not start with more than one target, older ones use the last. */
function refuseSeveralTargets(settings: ReadonlyMap<string, ByteString>): void {
  const targets = TARGETS.filter((key) => (settings.get(key) ?? '') !== '')
  if (targets.length < 2) return
  throw new PgtsError('option-invalid', `recovery cannot have more than one target: ${targets.join(', ')}`, {
    hints: ['set the target with --type and --target, and remove the other one from recovery-option'],
  })
}

/** All settings allowed in recovery.conf; servers before 12 do not start with any other. */
const RECOVERY_CONF = [
  'archive_cleanup_command',
  'primary_conninfo',
  'primary_slot_name',
  'recovery_end_command',
  'recovery_min_apply_delay',
  'recovery_target',
  'recovery_target_action',
  'recovery_target_inclusive',
  'recovery_target_lsn',
  'recovery_target_name',
  'recovery_target_time',
  'recovery_target_timeline',
  'recovery_target_xid',
  'restore_command',
  'standby_mode',
  'trigger_file',
]
/** Removed settings, with the first version that does not start with them. */
const REMOVED: Readonly<Record<string, number>> = { trigger_file: 12, promote_trigger_file: 16 }

function refuseUnknown(key: ByteString, major: number): void {
  const isKnown = major < RECOVERY_SETTINGS_SINCE ? RECOVERY_CONF.includes(key) : major < (REMOVED[key] ?? Infinity)
  if (isKnown) return
  throw new PgtsError(
    'option-invalid',
    `recovery-option '${bytesToText(key)}' is not a setting of PostgreSQL ${major}`,
    {
      hints:
        major < RECOVERY_SETTINGS_SINCE
          ? ['set server settings in postgresql.conf; recovery.conf accepts recovery settings only']
          : ['remove it, and promote with pg_ctl promote or pg_promote()'],
    },
  )
}

/** Lines of a configuration file, under a heading. @param when local time as text */
export function settingsText(settings: ReadonlyMap<string, ByteString>, when: string, by = 'restore'): string {
  const lines = [...settings].map(([key, value]) => `${key} = ${quoteSetting(value)}\n`)
  return `# Recovery settings generated by pgts ${by} on ${when}\n${lines.join('')}`
}

/**
 * Quotes a value for PostgreSQL's configuration files. Quotes are doubled, and backslashes too, because the parser of
 * these files interprets C escapes. A line break cannot be written.
 */
export function quoteSetting(value: ByteString): string {
  if (/[\n\r\0]/.test(value)) {
    throw new PgtsError(
      'option-invalid-value',
      `a recovery setting cannot contain a line break: '${bytesToText(value)}'`,
    )
  }
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

const TARGET_SETTING = /^[\t ]*recovery_target(_action|_inclusive|_lsn|_name|_time|_timeline|_xid)?[\t ]*([=\t ]|$)/i

/**
 * The new content of postgresql.auto.conf: the existing lines, with the targets of an earlier recovery commented out,
 * then the new settings.
 */
export function updatedAutoConf(
  existing: string | undefined,
  settings: ReadonlyMap<string, ByteString> | undefined,
  when: string,
): string {
  return updatedSettings(existing ?? '', settings, { by: 'restore', when })
}

/**
 * As `updatedAutoConf`, for any file with recovery settings.
 *
 * @param by the command, for the comments
 */
export function updatedSettings(
  existing: string,
  settings: ReadonlyMap<string, ByteString> | undefined,
  { by, when }: { readonly by: string; readonly when: string },
): string {
  const old = existing
    .split('\n')
    .map((line) => (TARGET_SETTING.test(line) ? `# Removed by pgts ${by} on ${when} # ${line}` : line))
    .join('\n')
  if (settings === undefined) return old
  const kept = old.trim()
  return (kept === '' ? '' : `${kept}\n\n`) + settingsText(settings, when, by)
}

/**
 * `<program> <options> archive-get %f "%p"`. PostgreSQL replaces `%f` and `%p` and passes the rest to a shell, so
 * special characters of the shell are quoted, and percent signs doubled.
 */
export function restoreCommand(program: ByteString, options: readonly ByteString[]): ByteString {
  const words = [program, ...options].map((word) => shellWord(word).replaceAll('%', '%%'))
  return bytes`${words.join(' ')} archive-get %f "%p"`
}

function shellWord(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./\x80-\xff-]+$/.test(word) ? word : `"${word.replace(/(["\\$`])/g, '\\$1')}"`
}
