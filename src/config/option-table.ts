import type { CommandName } from './command-table.ts'
import type { CommandOverride, OptionRow } from './option-row.ts'
import { archiveOptions } from './options/archive.ts'
import { backupOptions } from './options/backup.ts'
import { childProcessOptions } from './options/child-process.ts'
import { commandLineOptions } from './options/command-line.ts'
import { doctorOptions } from './options/doctor.ts'
import { generalOptions } from './options/general.ts'
import { hookOptions } from './options/hooks.ts'
import { logOptions } from './options/log.ts'
import { pgOptions } from './options/pg.ts'
import { repoCloudOptions } from './options/repo-cloud.ts'
import { repoHostOptions } from './options/repo-host.ts'
import { repoS3Options } from './options/repo-s3.ts'
import { repoSftpOptions } from './options/repo-sftp.ts'
import { repoStorageOptions } from './options/repo-storage.ts'
import { repoOptions } from './options/repo.ts'
import { restoreOptions } from './options/restore.ts'
import { serverOptions } from './options/server.ts'

/** Every option once. Flags, variables, both file dialects, help, reference pages and the typed options derive from it. */
export const optionTable = {
  ...commandLineOptions,
  ...childProcessOptions,
  ...generalOptions,
  ...hookOptions,
  ...logOptions,
  ...archiveOptions,
  ...backupOptions,
  ...doctorOptions,
  ...restoreOptions,
  ...repoOptions,
  ...repoHostOptions,
  ...repoStorageOptions,
  ...repoS3Options,
  ...repoSftpOptions,
  ...repoCloudOptions,
  ...pgOptions,
  ...serverOptions,
}

export type OptionName = keyof typeof optionTable
export type Group = 'repo' | 'pg'

export const optionNames = (Object.keys(optionTable) as OptionName[]).sort()

export function optionRow(name: OptionName): OptionRow {
  return optionTable[name]
}

export function isOptionName(text: string): text is OptionName {
  return Object.hasOwn(optionTable, text)
}

/** Options without an index although their name begins like a group. */
const UNGROUPED: readonly string[] = ['repo-target-time', 'pg-version-force']

/** The group of an option whose name carries an index (`repo-path` is written `repo1-path`), or undefined. */
export function groupOf(name: string): Group | undefined {
  if (UNGROUPED.includes(name)) return undefined
  return name.startsWith('repo-') ? 'repo' : name.startsWith('pg-') ? 'pg' : undefined
}

export const MAX_INDEX = 256

/** The row as `command` sees it, or undefined when the option is not valid for it. */
export function rowFor(name: OptionName, command: CommandName): (OptionRow & CommandOverride) | undefined {
  const row = optionRow(name)
  if (!row.commands.includes(command)) return undefined
  const override = row.for?.[command]
  return override === undefined ? row : ({ ...row, ...override } as OptionRow & CommandOverride)
}

export function isNegatable(row: OptionRow): boolean {
  return row.negatable === true || (isBoolean(row) && row.section !== 'command-line')
}

export function isResettable(row: OptionRow): boolean {
  return row.section !== 'command-line'
}

/** True if the option needs no value on the command line. */
export function isBoolean(row: OptionRow): boolean {
  return row.type === 'bool' || row.boolLike === true
}

export function isMulti(row: OptionRow): boolean {
  return row.type === 'list' || row.type === 'hash'
}
