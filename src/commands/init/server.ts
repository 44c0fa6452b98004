import { identifyArchiver, type Archiver, type WantedArchiver } from '../../core/init/archiver.ts'
import { programProblems } from '../../core/archive/status/archive-program.ts'
import { shellWord } from '../../core/init/restart.ts'
import { readServerConfiguration, type ServerConfiguration } from '../../postgres/archive-settings.ts'
import { connectServer, type ServerConnection } from '../../postgres/client.ts'
import { PgtsError } from '../../util/error.ts'
import { decodeUtf8, textToBytes } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'
import type { RunningCluster } from './choose-cluster.ts'
import { asOwner, type Owner } from './owner.ts'

/** Facts of the running server. */
export interface InspectedServer {
  /** As the server names it: pg1-path must be equal. */
  readonly dataDirectory: string
  readonly port: number
  readonly socketDirectory: string
  readonly configuration: ServerConfiguration
}

/** Runs `work` with a connection to the server, as its owner. */
export function withServer<T>(
  ctx: CommandContext<'init'>,
  cluster: RunningCluster,
  owner: Owner,
  work: (server: ServerConnection) => Promise<T>,
): Promise<T> {
  const pg = ctx.options.pg[0]
  return asOwner(owner, async (home) => {
    await using server = await connectServer({
      port: ctx.isSet('pg1-port') ? (pg?.port ?? cluster.port) : cluster.port,
      socketPath: pg?.socketPath ?? cluster.socketDirectory,
      database: pg?.database ?? 'postgres',
      user: pg?.user,
      dataDirectory: textToBytes(cluster.dataDirectory),
      command: ctx.command,
      env: { ...ctx.env, HOME: home },
      timeoutMs: Math.min(ctx.options.dbTimeout, 60_000),
      signal: ctx.signal,
    })
    return await work(server)
  })
}

/** Errors: those of a connection; [056] for a standby. */
export function inspectServer(
  ctx: CommandContext<'init'>,
  cluster: RunningCluster,
  owner: Owner,
): Promise<InspectedServer> {
  return withServer(ctx, cluster, owner, async (server) => {
    const { dataDirectory, inRecovery } = server.facts
    if (inRecovery) {
      throw new PgtsError('db-connect', `the server of ${cluster.dataDirectory} is a standby`, {
        hints: [
          'run init on the host of the primary',
          'then copy the configuration file to this host and set archive_command here as there',
        ],
      })
    }
    return {
      dataDirectory: decodeUtf8(dataDirectory),
      port: cluster.port,
      socketDirectory: ctx.options.pg[0]?.socketPath ?? cluster.socketDirectory ?? '',
      configuration: await readServerConfiguration(server),
    }
  })
}

export interface ArchiveCommand {
  readonly program: string
  readonly stanza: string
  /** Absolute; undefined for the file that pgts reads by default. */
  readonly config?: string
  /** Words in front of the program: `PGTS_NODE=/opt/node/bin/node`. */
  readonly prefix?: string
}

/** archive_command of the stanza. `%` is doubled in names, because the server replaces `%p`. */
export function archiveCommandOf({ program, stanza, config, prefix }: ArchiveCommand): string {
  const words = [program, ...(config === undefined ? [] : [`--config=${config}`]), `--stanza=${stanza}`, 'archive-push']
  const escaped = words.map((word) => shellWord(word).replaceAll('%', '%%')).join(' ')
  return `${prefix === undefined ? '' : `${prefix} `}${escaped} %p`
}

/**
 * The command with PGTS_NODE in front of it if the server would not find Node. Absent environment: not checked.
 */
export function withNode(
  command: ArchiveCommand,
  dataDirectory: string,
  serverEnvironment: ReadonlyMap<string, string> | undefined,
): ArchiveCommand {
  const problems = programProblems(archiveCommandOf(command), dataDirectory, serverEnvironment)
  if (!problems.some((problem) => problem.includes('PGTS_NODE'))) return command
  return { ...command, prefix: `PGTS_NODE=${shellWord(process.execPath)}` }
}

export function archiverOf({ settings }: ServerConfiguration, wanted: WantedArchiver): Archiver {
  const command = settings.archive_command
  return identifyArchiver(command?.afterRestart ?? command?.value ?? '', settings.archive_library?.value ?? '', wanted)
}
