import { spawn, type ChildProcess } from 'node:child_process'
import type { BackgroundProcess } from '../core/archive/push/await-push.ts'
import { hasStrayBytes, textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'

export interface BackgroundStart {
  /** Absolute path of the program. */
  readonly program: string
  /** Everything that follows it. Secrets are never options of a command line; those of the environment are inherited. */
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/**
 * Start a process that outlives this one: in its own session, so that signals to PostgreSQL's process group
 * do not reach it; without inherited files, so that no reader of a pipe waits for it; in the root directory, so
 * that it does not prevent an unmount.
 *
 * @throws PgtsError execute when it cannot be started
 */
export async function startBackground({ program, args, env }: BackgroundStart): Promise<BackgroundProcess> {
  const child = spawnDetached(program, args, env)
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (cause) => {
      const message = `cannot start ${program} in the background: ${cause.message}`
      reject(
        new PgtsError('execute', message, {
          hints: ['check that this user can start processes and read the program'],
          cause,
        }),
      )
    })
  })
  child.on('error', () => undefined)
  child.unref()
  return {
    pid: child.pid ?? 0,
    ended: () =>
      child.exitCode !== null
        ? `with exit code ${child.exitCode}`
        : child.signalCode !== null
          ? `of ${child.signalCode}`
          : undefined,
  }
}

function spawnDetached(program: string, args: readonly string[], env: BackgroundStart['env']): ChildProcess {
  const options = { cwd: '/', detached: true } as const
  // A shell can set only variables with such names; no option has another.
  const stray = Object.entries(env).filter(([name, value]) => /^[A-Za-z_]\w*$/.test(name) && hasStrayBytes(value ?? ''))
  if (stray.length === 0 && !args.some(hasStrayBytes)) return spawn(program, args, { ...options, stdio: 'ignore' })
  // Node passes only UTF-8 to a process, a shell any bytes. It reads them from a pipe, because they may be secrets.
  const child = spawn('/bin/sh', [], { ...options, stdio: ['pipe', 'ignore', 'ignore'] })
  const exports = stray.map(([name, value]) => `export ${name}=${quoted(value ?? '')}\n`)
  const script = `${exports.join('')}exec ${[program, ...args].map(quoted).join(' ')} </dev/null\n`
  child.stdin.on('error', () => undefined) // the process that ended is reported by its exit code
  child.stdin.end(Buffer.from(textToBytes(script), 'latin1'))
  return child
}

/** One word for a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}
