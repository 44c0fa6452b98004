import { PgtsError } from '../../util/error.ts'
import type { ClusterIdentity } from '../archive/find.ts'

/** What a running server says of itself. */
export interface ServerSettings {
  /** As the repository writes it: `15`. */
  readonly version: string
  readonly dataDirectory: string
  /** `on`, `off` or `always`. */
  readonly archiveMode: string
  /** Empty, or `(disabled)`, where none is set. */
  readonly archiveCommand: string
  /** PostgreSQL 15 and later. */
  readonly archiveLibrary?: string
}

/** The pg_control that was read from the configured data directory. */
export interface ConfiguredCluster extends ClusterIdentity {
  /** pg1-path. */
  readonly pgPath: string
}

export interface ArchiveCheckPolicy {
  /** archive-check. */
  readonly archive: boolean
  /** archive-mode-check: refuse `archive_mode = always`. */
  readonly archiveMode: boolean
}

/** Names that show an archive_command to be pgts's, or pgBackRest's beside which pgts may run. */
const PROGRAMS = ['pgbackrest', 'pgts']

/**
 * The server that was connected to must be the one whose data directory is configured, and its WAL must come to us.
 *
 * @throws PgtsError db-mismatch, archive-disabled, feature-not-supported, archive-command-invalid
 */
export function checkServer(server: ServerSettings, configured: ConfiguredCluster, policy: ArchiveCheckPolicy): void {
  checkSameServer(server, configured)
  if (policy.archive) checkArchiving(server, policy)
}

/** @throws PgtsError db-mismatch */
export function checkSameServer(server: ServerSettings, configured: ConfiguredCluster): void {
  if (server.version === configured.version && withoutSlash(server.dataDirectory) === withoutSlash(configured.pgPath))
    return
  throw new PgtsError(
    'db-mismatch',
    `the server runs version ${server.version} on ${server.dataDirectory}, ` +
      `but pg1-path is ${configured.pgPath} with a pg_control of version ${configured.version}`,
    {
      hints: [
        'do pg1-path and pg1-port (or pg1-socket-path) name the same cluster?',
        'pg1-path must be what SHOW data_directory prints',
      ],
    },
  )
}

/** @throws PgtsError archive-disabled, feature-not-supported, archive-command-invalid */
export function checkArchiving(server: ServerSettings, policy: ArchiveCheckPolicy): void {
  if (server.archiveMode === 'off') {
    throw new PgtsError(
      'archive-disabled',
      'archive_mode is off, so no WAL is archived and no online backup could be restored',
      {
        hints: ['set archive_mode = on and an archive_command in postgresql.conf and restart the server'],
      },
    )
  }
  if (server.archiveMode === 'always' && policy.archiveMode) {
    throw new PgtsError(
      'feature-not-supported',
      'archive_mode is always, which would archive the same WAL from standbys too',
      {
        hints: [
          'set archive_mode = on',
          'when every standby archives to a place of its own, use --no-archive-mode-check',
        ],
      },
    )
  }
  if (server.archiveLibrary !== undefined && server.archiveLibrary !== '') {
    throw new PgtsError(
      'archive-command-invalid',
      `archive_library is '${server.archiveLibrary}', so the server does not use archive_command`,
      { hints: [`empty archive_library and set archive_command: ${EXAMPLE}`] },
    )
  }
  const command = server.archiveCommand
  if (PROGRAMS.some((program) => command.includes(program))) return
  const none = command === '' || command === '(disabled)'
  throw new PgtsError(
    'archive-command-invalid',
    none ? 'archive_command is not set' : `archive_command '${command}' contains neither pgts nor pgbackrest`,
    {
      hints: [
        `archive_command must contain pgts or pgbackrest, for example: ${EXAMPLE}`,
        'a script may wrap the program when its name or an argument contains one of the words',
      ],
    },
  )
}

const EXAMPLE = "archive_command = 'pgts --stanza=NAME archive-push %p'"

function withoutSlash(path: string): string {
  return path.length > 1 ? path.replace(/\/+$/, '') : path
}
