import { fileURLToPath } from 'node:url'
import { resolveOptions, type AnyResolved } from '../config/resolve.ts'
import { archiveHandlers } from './archive-handlers.ts'
import { neverEndWithNotFound } from './last-resort.ts'
import { runCommand } from './run-command.ts'
import { listenForSignals } from './signals.ts'

/**
 * The way in for archive-push and archive-get, which PostgreSQL starts for every segment and waits for: one CommonJS
 * file (dist/cli/archive.cjs) with what a plain call of the two needs, because finding and linking the chunks of the
 * whole program takes longer than storing a segment. Everything else is handed over to cli/main before it has begun.
 */
async function start(): Promise<void> {
  const program = process.env['PGTS_PROGRAM'] ?? fileURLToPath(new URL('../../bin/pgts', import.meta.url))
  const argv = process.argv.slice(2)
  neverEndWithNotFound(argv)
  const input = { argv, env: process.env, program, uid: process.getuid?.() }
  // What cannot be understood is understood again, and told, over there.
  const resolved = await resolveOptions(input).catch(() => undefined)
  if (resolved === undefined || !isPlainCall(resolved)) {
    const main = new URL('./main.js', import.meta.url).href
    await import(main)
    return
  }
  const { signal } = listenForSignals()
  process.exitCode = await runCommand(
    resolved,
    { env: process.env, cwd: process.cwd(), program, signal },
    archiveHandlers,
  )
}

/** Synchronous, and between local storages: what this file carries. */
function isPlainCall({ command, role, options }: AnyResolved): boolean {
  if ((command !== 'archive-push' && command !== 'archive-get') || role !== undefined) return false
  return options.archiveAsync !== true && [...options.repo, ...options.pg].every(isLocal)
}

function isLocal(place: { readonly type?: string; readonly host?: string | undefined }): boolean {
  return (place.type ?? 'posix') === 'posix' && place.host === undefined
}

void start()
