import { commandNames, commandRow, type CommandName } from '../../config/command-table.ts'
import { resolveOptions, type AnyResolved } from '../../config/resolve.ts'
import type { Limits } from '../../core/serve/limited.ts'
import { isAllowed, type AllowedStanzas } from '../../core/serve/rights.ts'
import type { ServingContext } from '../../core/serve/serve.ts'
import type { OpenRequest } from '../../remote/open.ts'
import { asBytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { loadModule } from '../../util/load-module.ts'
import { NO_RETRY } from '../../worker/retry.ts'
import { openContext, type Surroundings } from '../context.ts'

export interface ServingRights {
  readonly allowed: AllowedStanzas
  /** Options that this process was given and that name its configuration. */
  commandLine(command: CommandName): readonly string[]
  readonly around: Surroundings
}

/**
 * What a connection is served whose rights are known: by the configuration of this host. The other host chooses the command,
 * its stanza and the number of the repository only.
 */
export async function contextFor(
  request: OpenRequest,
  { allowed, commandLine, around }: ServingRights,
): Promise<ServingContext> {
  const { stanza } = request
  if (!isAllowed(stanza ?? '', allowed)) throw denied(stanza)
  const command = commandNames.find((name) => name === request.command)
  if (command === undefined) throw new PgtsError('protocol', `there is no command '${request.command}'`)
  const resolved = await resolveOptions({
    argv: [...commandLine(command), ...argumentsOf(request), `${command}:remote`],
    env: around.env,
    program: around.program,
    uid: process.getuid?.(),
  })
  const limits = allowed === 'all' || stanza === undefined ? 'all' : [stanza]
  return servingContext(request, resolved, around, limits)
}

/** What `COMMAND:remote` serves: exactly what its command line names. */
export function contextOf(request: OpenRequest, resolved: AnyResolved, around: Surroundings): ServingContext {
  const { command, options } = resolved
  const { stanza } = options
  const asked = [request.command, request.stanza, request.kind]
  const own = [command, stanza, options.remoteType]
  if (asked.some((value, index) => value !== own[index])) {
    throw new PgtsError(
      'protocol',
      `the request (${asked.join(', ')}) differs from the command line (${own.join(', ')})`,
    )
  }
  return servingContext(request, resolved, around)
}

function servingContext(
  { kind, key, pgPath }: OpenRequest,
  resolved: AnyResolved,
  around: Surroundings,
  limits?: Limits,
): ServingContext {
  const open = openContext(resolved, kind === 'repo' ? { ...around, repoKey: key } : around)
  return {
    stanza: open.ctx.stanza,
    lockPath: resolved.options.lockPath ?? '',
    isExclusive: commandRow(resolved.command).locks?.includes('backup') === true,
    limits,
    repositories: () => open.ctx.repositories(),
    cluster: async () => {
      const cluster = await open.ctx.cluster()
      assertSameDirectory(pgPath, cluster.pgPath)
      return cluster
    },
    openExecutor: async (repository, bufferBytes) => {
      const { openInline } = await loadModule(() => import('../workers.ts'))
      return openInline({
        repositories: [repository],
        descriptions: [],
        cluster: { kind: 'local', versionForce: resolved.options.pgVersionForce, yields: true },
        bufferBytes,
        // The other host repeats a failed job.
        retry: NO_RETRY,
        log: around.log,
      })
    },
    [Symbol.asyncDispose]: () => open[Symbol.asyncDispose](),
  }
}

/** The other host must mean the cluster that this host has configured. */
function assertSameDirectory(wanted: ByteString | undefined, own: ByteString): void {
  const plain = (path: string) => path.replace(/(?<=.)\/+$/, '')
  if (wanted !== undefined && plain(wanted) === plain(own)) return
  throw new PgtsError(
    'access',
    `access to '${bytesToText(wanted ?? asBytes(''))}' is denied: pg1-path is '${bytesToText(own)}'`,
    {
      hints: ['set the same pg-path on both hosts'],
    },
  )
}

function argumentsOf({ kind, key, stanza }: OpenRequest): string[] {
  return [
    ...(stanza === undefined ? [] : [`--stanza=${stanza}`]),
    ...(kind === 'repo' ? [`--repo=${key}`] : []),
    `--remote-type=${kind}`,
  ]
}

function denied(stanza: string | undefined): PgtsError {
  const what = stanza === undefined ? 'commands without a stanza' : `stanza '${stanza}'`
  return new PgtsError('access', `access to ${what} is denied to the other host`, {
    hints: ['on the serving host add the stanza, or * for all, to the rights of the other host'],
  })
}
