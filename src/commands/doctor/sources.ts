import { closeSync, openSync } from 'node:fs'
import { readArchivingFacts } from '../../core/archive/status/archiving-facts.ts'
import type { Sources } from '../../core/doctor/examine.ts'
import type { ConfigurationFacts, Site } from '../../core/doctor/facts.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import { textPath, textToBytes } from '../../util/byte-string.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { CommandContext, LauncherContext } from '../context.ts'
import type { Owner } from '../init/owner.ts'
import { clusterFacts } from './cluster-facts.ts'
import { hostFacts } from './host-facts.ts'
import { repositoryFacts } from './repository-facts.ts'
import { serverState } from './server-state.ts'
import { storeFacts } from './store-facts.ts'

export interface Around {
  readonly site: Site
  readonly owner: Owner | undefined
  readonly launcher: Pick<LauncherContext, 'configuration' | 'descriptions'>
}

/** Where the facts come from; disposing it closes the connection to the server, which two of them use. */
export function openSources(
  ctx: CommandContext<'doctor'>,
  { site, owner, launcher }: Around,
): AsyncDisposable & { readonly all: Sources } {
  let connection: Promise<ServerConnection> | undefined
  const connect = () => {
    if (connection === undefined) {
      connection = ctx.cluster().then((cluster) => cluster.connect({ atMostMs: QUERY_MS, env: ctx.env }))
      markHandled(connection)
    }
    return connection
  }
  const hasCluster = ctx.options.pg[0]?.path !== undefined
  return {
    all: {
      configuration: async () => configurationFacts(launcher.configuration, owner),
      cluster: async (signal) => (hasCluster ? clusterFacts(ctx, signal) : undefined),
      server: async () => (hasCluster ? serverState(await connect(), site.nowMs) : undefined),
      archiving: async () => {
        const { pgPath, pgHost, spoolPath, lockPath } = site
        if (pgPath === undefined || pgHost !== undefined) return undefined
        const { stanza, program } = ctx
        const place = { stanza, program, pgPath: textToBytes(pgPath), spoolPath, lockPath }
        // Files have a part of the facts, and the fact about the server reports why it does not answer.
        const server = await connect().catch(() => undefined)
        return readArchivingFacts(place, site.nowMs, server)
      },
      host: () => hostFacts(site),
      repositories: (signal) => repositoryFacts(ctx, site, signal),
      stores: (signal) => storeFacts(launcher.descriptions(), site, signal),
    },
    [Symbol.asyncDispose]: async () => {
      await (await connection?.catch(() => undefined))?.[Symbol.asyncDispose]()
    },
  }
}

/** Timeout of one query. */
const QUERY_MS = 10_000

function configurationFacts(
  { files, exposed, warnings }: LauncherContext['configuration'],
  owner: Owner | undefined,
): ConfigurationFacts {
  return {
    warnings,
    files: files.map((path) => ({ path, exposed: exposed.includes(path), readable: isReadable(path) })),
    ...(owner === undefined ? {} : { owner: owner.name }),
  }
}

/** For the user that this process works as. */
function isReadable(path: string): boolean {
  try {
    // Not access(2), which asks for the real user: root.
    closeSync(openSync(textPath(path), 'r'))
    return true
  } catch {
    return false
  }
}
