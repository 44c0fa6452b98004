import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { EXIT_CODES, exitCodeText, isPgtsError, PgtsError, toPlainError } from '../../util/error.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { CommandContext } from '../context.ts'

type Context = CommandContext<'backup' | 'check' | 'stanza-create' | 'stanza-upgrade'>

/** A configured cluster whose server answers. */
export interface ConnectedCluster {
  readonly cluster: ClusterAccess
  readonly server: ServerConnection
  /** As it was when the connection was opened. */
  readonly control: ControlFile
  /** For backup: rejects if the cluster is a restored copy, see `ClusterAccess.refuseCopy`. */
  readonly checkedCopy?: Promise<void>
}

/** The connected clusters of a stanza, in the order of their numbers. */
export class Clusters implements AsyncDisposable {
  readonly #connected: ConnectedCluster[]

  constructor(connected: readonly ConnectedCluster[]) {
    this.#connected = [...connected]
  }

  get all(): readonly ConnectedCluster[] {
    return this.#connected
  }

  get standbys(): readonly ConnectedCluster[] {
    return this.#connected.filter(({ server }) => server.facts.inRecovery)
  }

  /** @throws PgtsError db-connect for two */
  get primary(): ConnectedCluster | undefined {
    const [primary, second] = this.#connected.filter(({ server }) => !server.facts.inRecovery)
    if (primary === undefined || second === undefined) return primary
    throw new PgtsError('db-connect', `pg${primary.cluster.key} and pg${second.cluster.key} are both primaries`, {
      hints: ['check whether a standby was promoted; if these are two clusters, configure a stanza for each'],
    })
  }

  /** Closes the connections to the other clusters. */
  async keepOnly(...kept: readonly ConnectedCluster[]): Promise<void> {
    const others = this.#connected.filter((one) => !kept.includes(one))
    this.#connected.splice(0, Infinity, ...kept)
    await Promise.all(others.map(({ server }) => server[Symbol.asyncDispose]()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.keepOnly()
  }
}

/**
 * Connects to all configured clusters at once. One that cannot be used is a warning; if a command other than check has
 * only one, its error is thrown.
 */
export async function connectClusters(ctx: Context): Promise<Clusters> {
  const { command, options, log, signal } = ctx
  const wanted = [...options.pg.entries()].filter(([, { path }]) => path !== undefined)
  const results = await Promise.allSettled(wanted.map(([index]) => connectTo(ctx, index)))
  const clusters = new Clusters(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : [])))
  try {
    signal.throwIfAborted()
    for (const [place, result] of results.entries()) {
      if (result.status === 'fulfilled') continue
      if (results.length === 1 && command !== 'check') throw result.reason
      // Another command has the locks of that host, or a stop file forbids this one.
      if (isPgtsError(result.reason, 'lock-acquire') || isPgtsError(result.reason, 'stop')) throw result.reason
      const { key } = wanted[place]![1]
      const { code, message, hints } = toPlainError(result.reason)
      const text = `unable to check pg${key}: ${exitCodeText(EXIT_CODES[code])} ${message}`
      log.warn({ pg: key }, [text, ...hints.map((hint) => `HINT: ${hint}`)].join('\n'))
    }
    return clusters
  } catch (error) {
    await clusters[Symbol.asyncDispose]()
    throw error
  }
}

async function connectTo(ctx: Context, index: number): Promise<ConnectedCluster> {
  const cluster = await ctx.cluster(index)
  const { files, pgPath } = cluster
  // Requested at the same time: each would be a round trip to another host.
  const reading = readControlFile(files, pgPath, { signal: ctx.signal })
  const listing = files.list(pgPath)
  const connecting = cluster.connect()
  const checkedCopy = ctx.command === 'backup' ? cluster.refuseCopy() : undefined
  for (const pending of [reading, listing, connecting, checkedCopy]) if (pending !== undefined) markHandled(pending)
  try {
    const control = await reading
    // Fails here if the directory cannot be read.
    await listing
    return { cluster, control, server: await connecting, checkedCopy }
  } catch (error) {
    markHandled(connecting.then((server) => server[Symbol.asyncDispose]()))
    throw error
  }
}

/** The primary among the configured clusters, whichever number it has. @throws PgtsError db-connect */
export async function primaryOf(
  ctx: CommandContext<'backup' | 'stanza-create' | 'stanza-upgrade'>,
): Promise<ConnectedCluster & AsyncDisposable> {
  const clusters = await connectClusters(ctx)
  try {
    const primary = requirePrimary(ctx, clusters)
    await clusters.keepOnly(primary)
    return { ...primary, [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose]() }
  } catch (error) {
    await clusters[Symbol.asyncDispose]()
    throw error
  }
}

/** @throws PgtsError db-connect if no primary answers, or if there are two */
export function requirePrimary(
  { command, options }: CommandContext<'backup' | 'stanza-create' | 'stanza-upgrade'>,
  clusters: Clusters,
): ConnectedCluster {
  const { primary, standbys } = clusters
  if (primary !== undefined) return primary
  const [standby] = standbys
  if (standby === undefined) {
    throw new PgtsError('db-connect', `no server of this stanza answers, but ${command} requires the primary`, {
      hints: ['check that the servers are running; see the warnings above'],
    })
  }
  const what =
    standbys.length === 1
      ? `the server of ${standby.cluster.display} is a standby`
      : 'all servers that answer are standbys'
  const hints = [`run ${command} on the host of the primary, or configure it as pg${options.pg.length + 1}`]
  if (command === 'backup') hints.push('or use --backup-standby=only, which does not require the primary')
  else hints.push('or use --no-online')
  throw new PgtsError('db-connect', `${what}, but ${command} requires the primary`, { hints })
}
