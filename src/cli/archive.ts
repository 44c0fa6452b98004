import { resolveOptions, type AnyResolved } from '../config/resolve.ts'
import { loadModule } from '../util/load-module.ts'
import { archiveRows } from './archive-rows.ts'
import { reportInvalidCall, runToEnd } from './last-resort.ts'
import { readLaunch, type Launch } from './launch.ts'
import { processArguments, processDirectory, processEnvironment } from './process-input.ts'
import { runCommand } from './run-command.ts'

/**
 * Entry point of archive-push and archive-get, which PostgreSQL starts for every segment and waits for: one CommonJS
 * bundle (dist/cli/archive.cjs) with the modules of a plain call, because finding and linking the chunks of the
 * whole program takes longer than storing a segment. Every other call is passed to cli/main with its resolved options.
 */
export function start(): Promise<void> {
  const launch = readLaunch(processArguments())
  return runToEnd(launch, (signal) => runArchiving(launch, signal))
}

async function runArchiving(launch: Launch, signal: AbortSignal): Promise<number> {
  const { argv, program } = launch
  const env = processEnvironment()
  let resolved: AnyResolved
  try {
    resolved = await resolveOptions({ argv, env, program, uid: process.getuid?.() })
  } catch (error) {
    return reportInvalidCall(error, argv, program)
  }
  if (!isPlainCall(resolved)) {
    const { href } = new URL('./terminal.js', import.meta.url)
    const { runCommandLine } = await loadModule<typeof import('./main.ts')>(() => import(href))
    return runCommandLine(launch, signal, resolved)
  }
  return runCommand(resolved, { env, cwd: processDirectory(), program, signal }, archiveRows)
}

/** Synchronous, from a local cluster to repositories on disks or in S3: only for this the bundle has the modules. */
function isPlainCall({ command, role, options }: AnyResolved): boolean {
  if ((command !== 'archive-push' && command !== 'archive-get') || role !== undefined) return false
  if (options.archiveAsync === true || options.repoTargetTime !== undefined) return false
  return options.pg.every(isLocal) && options.repo.every(isNear)
}

function isLocal({ host }: { readonly host?: string | undefined }): boolean {
  return host === undefined
}

interface RepositoryPlace {
  readonly type?: string
  readonly host?: string
  readonly s3KeyType?: string
}

function isNear(repo: RepositoryPlace): boolean {
  if (!isLocal(repo)) return false
  return (repo.type ?? 'posix') === 'posix' || (repo.type === 's3' && repo.s3KeyType !== 'web-id')
}
