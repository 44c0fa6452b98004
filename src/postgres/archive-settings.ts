import type { ServerConnection } from './client.ts'

/** A setting of the server, and where its value comes from. */
export interface ServerSetting {
  readonly name: string
  /** The value in effect; of archive_command also while archive_mode is off. */
  readonly value: string
  /** pg_settings.source: `default`, `configuration file`, `command line`, ... */
  readonly source: string
  /** The file and line that set it, includes resolved. */
  readonly file?: string
  readonly line?: number
  /** The value of the files, if it is effective only after a restart. */
  readonly afterRestart?: string
}

/** The settings that archiving depends on; archive_library exists since 15. */
export const ARCHIVE_SETTINGS = ['wal_level', 'archive_mode', 'archive_command', 'archive_library'] as const
export type ArchiveSettingName = (typeof ARCHIVE_SETTINGS)[number]
export type ArchiveSettings = Readonly<Partial<Record<ArchiveSettingName, ServerSetting>>>

export interface ServerConfiguration {
  readonly settings: ArchiveSettings
  /** postgresql.conf, as the server names it. */
  readonly configFile: string
  /** False: allow_alter_system is off (since 17), or the role is not a superuser. */
  readonly canAlterSystem: boolean
  /** Why ALTER SYSTEM cannot be used. */
  readonly alterSystemProblem?: string
}

interface SettingRow {
  name: string
  value: string
  source: string
  file: string | null
  line: number | null
  pending: boolean
}

/** Reads the settings of archiving. Requires the privileges of pg_read_all_settings. */
export async function readServerConfiguration(server: ServerConnection): Promise<ServerConfiguration> {
  const names = ARCHIVE_SETTINGS.map((name) => `'${name}'`).join(', ')
  // While archive_mode is off, `setting` of archive_command is `(disabled)`; reset_val is its value.
  const rows = await server.query<SettingRow>(
    `select name, case when name = 'archive_command' then coalesce(reset_val, '') else setting end as value, source,
       sourcefile as file, sourceline as line, pending_restart as pending
     from pg_catalog.pg_settings where name in (${names})`,
  )
  const files = await fileValues(server, names)
  const settings = Object.fromEntries(
    rows.map(({ name, value, source, file, line, pending }) => {
      const inFile = files.get(name)
      const afterRestart = pending && inFile !== undefined && inFile !== value ? inFile : undefined
      return [name, { name, value, source, file: file ?? undefined, line: line ?? undefined, afterRestart }]
    }),
  )
  const [own] = await server.query<{ file: string; superuser: boolean; allowed: string | null }>(
    `select pg_catalog.current_setting('config_file') as file,
       pg_catalog.current_setting('is_superuser') = 'on' as superuser,
       pg_catalog.current_setting('allow_alter_system', true) as allowed`,
  )
  const problem =
    own?.superuser !== true
      ? 'the role that pgts connects as is not a superuser'
      : own.allowed === 'off'
        ? 'allow_alter_system is off'
        : undefined
  return {
    settings,
    configFile: own?.file ?? '',
    canAlterSystem: problem === undefined,
    alterSystemProblem: problem,
  }
}

/** The value that the files have last for each setting; those that need a restart are not yet in effect. */
async function fileValues(server: ServerConnection, names: string): Promise<ReadonlyMap<string, string>> {
  const rows = await server
    .query<{
      name: string
      setting: string
    }>(`select name, setting from pg_catalog.pg_file_settings where name in (${names}) order by seqno`)
    // Only a superuser may read this view.
    .catch(() => [])
  return new Map(rows.map(({ name, setting }) => [name, setting]))
}

/** ALTER SYSTEM for each setting, then reload. The server writes postgresql.auto.conf whole or not at all. */
export async function alterSystem(
  server: ServerConnection,
  changes: readonly { readonly name: ArchiveSettingName; readonly value: string }[],
): Promise<void> {
  for (const { name, value } of changes) await server.query(alterSystemStatement(name, value))
  await server.query('select pg_catalog.pg_reload_conf()')
}

/** For people, too. */
export function alterSystemStatement(name: ArchiveSettingName, value: string): string {
  return `alter system set ${name} = '${value.replaceAll("'", "''")}'`
}
