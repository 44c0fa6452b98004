import { spawn, type ChildProcess } from 'node:child_process'
import type { BackgroundProcess } from '../commands/context.ts'
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
 * Start a process that lives on when this one ends: a session of its own, so that signals to PostgreSQL's process group
 * do not reach it; none of our files, so that nobody waits for it to close a pipe; the root as working directory, so
 * that it keeps no file system busy.
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
        new PgtsError('execute', message, { hints: ['can this user start processes, and read the program?'], cause }),
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
  // A shell cannot set a variable of another name; options have none.
  const stray = Object.entries(env).filter(([name, value]) => /^[A-Za-z_]\w*$/.test(name) && hasStrayBytes(value ?? ''))
  if (stray.length === 0 && !args.some(hasStrayBytes)) return spawn(program, args, { ...options, stdio: 'ignore' })
  // Node passes text to a process, in UTF-8 only. A shell passes bytes; it reads them, secrets among them, from a pipe.
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
