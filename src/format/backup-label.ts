import { compareBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { localDateTime } from '../util/local-time.ts'
import type { BackupType } from './manifest.ts'

/** `20261122-062513F`, `20261122-062513F_20261122-070000D`, `..._20261122-080000I` */
export type BackupLabel = string & { readonly __brand: 'BackupLabel' }

const LABEL = /^[0-9]{8}-[0-9]{6}F(_[0-9]{8}-[0-9]{6}[DI])?$/
const FULL_LENGTH = 16

export function isBackupLabel(text: string): text is BackupLabel {
  return LABEL.test(text)
}

/** @param code of the error if `text` is not a label */
export function parseBackupLabel(
  text: string,
  code: 'format' | 'option-invalid-value' | 'param-invalid' = 'format',
): BackupLabel {
  if (!isBackupLabel(text)) {
    throw new PgtsError(code, `'${text}' is not a backup label`, {
      hints: ['use a label such as 20261122-062513F or 20261122-062513F_20261123-062513I, as shown by info'],
    })
  }
  return text
}

export function backupTypeOf(label: BackupLabel): BackupType {
  return label.endsWith('F') ? 'full' : label.endsWith('D') ? 'diff' : 'incr'
}

/** Label of the full backup that a backup depends on; for a full its own label. */
export function fullLabelOf(label: BackupLabel): BackupLabel {
  return label.slice(0, FULL_LENGTH) as BackupLabel
}

/**
 * Checks the position of a backup in its chain: its type must match its label, and the backups that it depends on must
 * be older backups of the same set. Otherwise a chain could be circular.
 *
 * @param references may include the own label
 */
export function* chainProblems(backup: {
  readonly label: BackupLabel
  readonly type: BackupType
  readonly prior?: string
  readonly references: readonly string[]
}): Generator<string> {
  const { label, type, prior, references } = backup
  const isOlder = (other: string) => other < label && other.startsWith(fullLabelOf(label))
  if (type !== backupTypeOf(label)) yield `${label} is not the label of a backup of type ${type}`
  if (prior !== undefined && !isOlder(prior)) yield `it builds on ${prior}, which is not an older backup of its set`
  for (const other of references) {
    if (other !== label && !isOlder(other)) yield `it refers to ${other}, which is not an older backup of its set`
  }
}

/** Oldest first. Within one set, byte order equals time order. */
export function compareLabels(a: string, b: string): number {
  return compareBytes(a, b)
}

/** `20261122-062513` in local time, as the format requires. */
export function labelTime(epochSeconds: number): string {
  return localDateTime(epochSeconds).replaceAll(/[-:]/g, '').replace(' ', '-')
}

/**
 * The label of a backup that started at `epochSeconds`.
 *
 * @param prior the prior backup; required for diff and incr
 */
export function formatBackupLabel(type: BackupType, epochSeconds: number, prior?: BackupLabel): BackupLabel {
  const time = labelTime(epochSeconds)
  if (type === 'full') return `${time}F` as BackupLabel
  if (prior === undefined) throw new PgtsError('assert', `backup type ${type} requires a prior backup`)
  return `${fullLabelOf(prior)}_${time}${type === 'diff' ? 'D' : 'I'}` as BackupLabel
}

/** A label and its time, which may be one second later than requested. */
export interface NextLabel {
  readonly label: BackupLabel
  readonly timestampStart: number
}

/**
 * A label that sorts after every existing one: of all backups for a full, of the same set for a diff or incr. A second
 * backup within one second gets the next second. If the clock was set back by more, this is an error, because a label
 * that is not the newest would be mistaken for an older backup.
 *
 * @param existing labels of backup directories and of backup.history, in any order
 * @throws PgtsError clock
 */
export function nextBackupLabel(
  type: BackupType,
  epochSeconds: number,
  existing: Iterable<string>,
  prior?: BackupLabel,
): NextLabel {
  const full = type === 'full' || prior === undefined ? undefined : fullLabelOf(prior)
  let newest = ''
  for (const label of existing) if ((full === undefined || label.startsWith(full)) && label > newest) newest = label
  for (const timestampStart of [epochSeconds, epochSeconds + 1]) {
    const label = formatBackupLabel(type, timestampStart, prior)
    if (label > newest) return { label, timestampStart }
  }
  throw new PgtsError(
    'clock',
    `the new label ${formatBackupLabel(type, epochSeconds, prior)} is not later than the existing label ${newest}`,
    {
      hints: ['check the clock of this host', 'check whether the time zone (TZ) has changed: labels are in local time'],
    },
  )
}

/** The members that define dependencies. */
export interface LabelledBackup {
  readonly label: string
  readonly prior?: string
}

/**
 * `label` and all backups that directly or indirectly depend on it, newest first: the order in which they can be
 * removed.
 * @param backups in any order
 */
export function dependentsOf(label: string, backups: Iterable<LabelledBackup>): string[] {
  const children = new Map<string, string[]>()
  for (const backup of backups) {
    if (backup.prior === undefined) continue
    const list = children.get(backup.prior)
    if (list === undefined) children.set(backup.prior, [backup.label])
    else list.push(backup.label)
  }
  const found = new Set([label])
  for (const current of found) for (const child of children.get(current) ?? []) found.add(child)
  return [...found].sort(compareLabels).reverse()
}
