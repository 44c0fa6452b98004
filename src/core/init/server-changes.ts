import type { ArchiveSettingName, ArchiveSettings } from '../../postgres/archive-settings.ts'
import type { Archiver } from './archiver.ts'

/** A setting that archiving needs and the server does not have yet. */
export interface SettingChange {
  readonly name: ArchiveSettingName
  readonly from: string
  readonly to: string
  /** The files have the value already: only the restart is missing. */
  readonly isWritten: boolean
  readonly needsRestart: boolean
  /** Where the present value is set: `/etc/postgresql/17/main/conf.d/wal.conf line 3`. */
  readonly setIn?: string
  /** A value of the command line, which no file can change. */
  readonly fixed: boolean
}

/**
 * The changes that let the server archive with pgts. An archiver of another program is only replaced if `replace` says
 * so.
 */
export function serverChanges(
  settings: ArchiveSettings,
  archiver: Archiver,
  wanted: { readonly archiveCommand: string; readonly replace: boolean },
): SettingChange[] {
  const changes: SettingChange[] = []
  const need = (name: ArchiveSettingName, isFine: (value: string) => boolean, to: string, needsRestart: boolean) => {
    const setting = settings[name]
    if (setting === undefined || isFine(setting.value)) return
    const isWritten = setting.afterRestart !== undefined && isFine(setting.afterRestart)
    changes.push({
      name,
      from: setting.value,
      to: isWritten ? (setting.afterRestart ?? to) : to,
      isWritten,
      needsRestart,
      setIn: setting.file === undefined ? undefined : `${setting.file} line ${setting.line}`,
      fixed: setting.source === 'command line' || setting.source === 'environment variable',
    })
  }
  need('wal_level', (value) => value !== 'minimal', 'replica', true)
  need('archive_mode', (value) => value !== 'off', 'on', true)
  if (archiver.kind === 'foreign' && !wanted.replace) return changes
  // Sent by reload, while archive_mode needs a restart: the command is in place when archiving begins.
  if (archiver.kind !== 'own')
    need('archive_command', (value) => value === wanted.archiveCommand, wanted.archiveCommand, false)
  // Since 15; a server has either a command or a library.
  need('archive_library', (value) => value === '', '', false)
  return changes
}
