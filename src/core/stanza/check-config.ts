import { checkServerMatches, type ServerFacts } from '../../postgres/client.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { archiveCommandLine, type Caller } from '../archive/status/archive-program.ts'
import { PgtsError } from '../../util/error.ts'

export interface ArchiveCheckPolicy {
  /** archive-check: require that archive_command calls pgts for this stanza. */
  readonly archive: Caller | false
  /** archive-mode-check: refuse `archive_mode = always`. */
  readonly archiveMode: boolean
}

/** Names that identify our archive_command, or that of pgbackrest. */
const PROGRAMS = ['pgbackrest', 'pgts']

/**
 * Checks that the connected server uses the configured data directory, and that it archives its WAL with pgts.
 *
 * @param cluster pg1-path (byte string) and the version in its pg_control
 * @throws PgtsError db-mismatch, archive-disabled, feature-not-supported, archive-command-invalid
 */
export function checkServer(
  facts: ServerFacts,
  cluster: { readonly pgPath: ByteString; readonly version: string },
  policy: ArchiveCheckPolicy,
): void {
  const dataDirectory = cluster.pgPath.length > 1 ? cluster.pgPath.replace(/\/+$/, '') : cluster.pgPath
  checkServerMatches(facts, { dataDirectory, version: cluster.version })
  if (policy.archive !== false) checkArchiving(facts, policy, archiveCommandLine(policy.archive))
}

/** @throws PgtsError archive-disabled, feature-not-supported, archive-command-invalid */
export function checkArchiving(
  facts: Pick<ServerFacts, 'archiveMode' | 'archiveCommand' | 'archiveLibrary'>,
  policy: Pick<ArchiveCheckPolicy, 'archiveMode'>,
  example: string,
): void {
  if (facts.archiveMode === 'off') {
    throw new PgtsError('archive-disabled', 'archive_mode is off, so an online backup could not be restored', {
      hints: [`set archive_mode = on and ${example} in postgresql.conf, and restart the server`],
    })
  }
  if (facts.archiveMode === 'always' && policy.archiveMode) {
    throw new PgtsError(
      'feature-not-supported',
      'archive_mode is always, which archives the same WAL from standbys too',
      {
        hints: ['set archive_mode = on', 'use --no-archive-mode-check if every server archives to its own repository'],
      },
    )
  }
  if (facts.archiveLibrary !== '') {
    throw new PgtsError(
      'archive-command-invalid',
      `archive_library is '${facts.archiveLibrary}', so the server does not use archive_command`,
      { hints: [`set archive_library to an empty value, and ${example}`] },
    )
  }
  const command = facts.archiveCommand
  if (PROGRAMS.some((program) => command.includes(program))) return
  throw new PgtsError(
    'archive-command-invalid',
    command === ''
      ? 'archive_command is not set'
      : `archive_command '${bytesToText(command)}' contains neither pgts nor pgbackrest`,
    {
      hints: [
        `set ${example}, and reload the server`,
        'if archive_command is a script, use a name or an argument that contains pgts or pgbackrest',
      ],
    },
  )
}
