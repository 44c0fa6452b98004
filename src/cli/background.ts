import { spawn } from 'node:child_process'
import type { BackgroundProcess } from '../commands/context.ts'
import { PgtsError } from '../util/error.ts'

export interface BackgroundStart {
  /** Absolute path of the program. */
  readonly program: string
  /** Everything that follows it. Secrets are never options of a command line; those of the environment are inherited. */
  readonly args: readonly string[]
}

/**
 * Start a process that lives on when this one ends: a session of its own, so that signals to PostgreSQL's process group
 * do not reach it; none of our files, so that nobody waits for it to close a pipe; the root as working directory, so
 * that it keeps no file system busy.
 *
 * @throws PgtsError execute when it cannot be started
 */
export async function startBackground({ program, args }: BackgroundStart): Promise<BackgroundProcess> {
  const child = spawn(program, args, { cwd: '/', detached: true, stdio: 'ignore' })
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
