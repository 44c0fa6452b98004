import { fileURLToPath } from 'node:url'
import { resolveOptions, type AnyResolved } from '../config/resolve.ts'
import { loadModule } from '../util/load-module.ts'
import { archiveHandlers } from './archive-handlers.ts'
import { neverEndWithNotFound } from './last-resort.ts'
import { processArguments, processDirectory, processEnvironment } from './process-input.ts'
import { runCommand } from './run-command.ts'
import { listenForSignals } from './signals.ts'

/**
 * The way in for archive-push and archive-get, which PostgreSQL starts for every segment and waits for: one CommonJS
 * bundle (dist/cli/archive.cjs) with what a plain call of the two needs, because finding and linking the chunks of the
 * whole program takes longer than storing a segment. Everything else is handed over to cli/main before it has begun.
 */
async function start(): Promise<void> {
  const program = process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url))
  const argv = processArguments()
  const env = processEnvironment()
  neverEndWithNotFound(argv)
  const input = { argv, env, program, uid: process.getuid?.() }
  // What cannot be understood is understood again, and told, over there.
  const resolved = await resolveOptions(input).catch(() => undefined)
  if (resolved === undefined || !isPlainCall(resolved)) {
    const main = new URL('./main.js', import.meta.url).href
    await loadModule(() => import(main))
    return
  }
  const { signal } = listenForSignals()
  process.exitCode = await runCommand(resolved, { env, cwd: processDirectory(), program, signal }, archiveHandlers)
}

/** Synchronous, between a local cluster and repositories on disks or in S3: what this file carries. */
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
  readonly host?: string | undefined
  readonly s3KeyType?: string | undefined
}

function isNear(repo: RepositoryPlace): boolean {
  if (!isLocal(repo)) return false
  return (repo.type ?? 'posix') === 'posix' || (repo.type === 's3' && repo.s3KeyType !== 'web-id')
}

void start()
