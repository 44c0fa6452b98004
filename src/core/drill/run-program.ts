import { spawn } from 'node:child_process'
import { PgtsError } from '../../util/error.ts'
import type { OwnerIds } from '../restore/file-system.ts'

export interface ProgramRun {
  readonly owner?: OwnerIds
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
}

/** Exit code and output (the streams as they come) of a program that checks the restored cluster. It is killed when the signal is aborted. Errors: [102] */
export function runProgram(
  program: string,
  args: readonly string[],
  { owner, env, signal }: ProgramRun,
): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: '/',
      // Its messages are read.
      env: { ...env, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...owner,
    })
    let output = ''
    const collect = (piece: string) => {
      if (output.length < MOST_OUTPUT) output += piece
    }
    child.stdout.setEncoding('utf8').on('data', collect)
    child.stderr.setEncoding('utf8').on('data', collect)
    const kill = () => void child.kill('SIGKILL')
    signal.addEventListener('abort', kill, { once: true })
    child.once('error', (cause) =>
      reject(new PgtsError('execute', `cannot run ${program}: ${cause.message}`, { cause })),
    )
    child.once('close', (code) => {
      signal.removeEventListener('abort', kill)
      if (signal.aborted) reject(signal.reason as Error)
      else resolve({ code, output })
    })
  })
}

const MOST_OUTPUT = 1024 * 1024
