import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { EXIT_CODES } from '../util/error.ts'
import { isAlive } from '../util/is-alive.ts'
import { processDirectory } from './process-input.ts'

/**
 * Data from `bin/pgts` for Node, in an internal first argument `--launched=PID:MASK:PROGRAM`; an environment variable would
 * reach the background process. PID: the launcher, which waits for this process and expects the exit codes below. MASK:
 * the signals that it ignores; given if it does not wait. PROGRAM: the path by which the launcher was called. Without
 * this argument Node was started directly.
 */
export interface Launch {
  /** The arguments of the command. */
  readonly argv: readonly string[]
  /** The process that waits for this one. */
  readonly launcher: number | undefined
  /** Signals that the caller ignores; Node resets them at start. */
  readonly ignored: readonly NodeJS.Signals[]
  /** Absolute path that the program was called by; symbolic links are not resolved. */
  readonly program: string
}

export function readLaunch(args: readonly string[]): Launch {
  const [, pid, mask = '', calledBy = ''] =
    /^--launched=([0-9]*)(?::([0-9a-f]*)(?::(.*))?)?$/s.exec(args[0] ?? '') ?? []
  const program = calledBy === '' ? fileURLToPath(new URL('../../bin/pgts', import.meta.url)) : absolute(calledBy)
  if (pid === undefined) return { argv: args, launcher: undefined, ignored: [], program }
  const launcher = pid === '' ? undefined : Number(pid)
  return { argv: args.slice(1), launcher, ignored: signalsOf(mask === '' ? ignoredBy(launcher) : mask), program }
}

/** Only a leading `..` is resolved: after a symbolic link it is not the parent in the path. */
function absolute(path: string): string {
  if (path.startsWith('/')) return path
  const [up = ''] = /^(?:\.{1,2}\/+)*/.exec(path) ?? []
  return `${resolve(processDirectory(), up)}/${path.slice(up.length)}`
}

/**
 * Exit codes for the launcher: codes that no shell, loader, signal or Node uses, so that a failure of those is not taken
 * for a result of the command (Node exits with 1, and with codes of OpenSSL, some of which are also codes of pgts). The
 * launcher maps them back and accepts no other code. 154 to 159 could only be signals that no process sends here.
 */
const OWN_CODE = 128
const PROOFS = new Map<number, number>([
  [0, 240],
  [1, 241],
  [EXIT_CODES['recovery-stop'], 242],
])

export function exitCodeFor(code: number, { launcher }: Launch): number {
  return launcher === undefined ? code : (PROOFS.get(code) ?? code + OWN_CODE)
}

const CHECK_MS = 200

/** Calls back once if the launcher was killed while this process runs. */
export function watchLauncher({ launcher }: Launch, onEnd: () => void): void {
  if (launcher === undefined) return
  const parent = process.ppid
  // PGTS_NODE may be a program between the two. A launcher in another PID namespace is not visible.
  const seen = isAlive(launcher)
  const hasEnded = () => process.ppid !== parent || (seen && !isAlive(launcher))
  const timer = setInterval(() => {
    if (!hasEnded()) return
    clearInterval(timer)
    onEnd()
  }, CHECK_MS).unref()
  // It ended before this check.
  if (!seen && parent === 1) {
    clearInterval(timer)
    onEnd()
  }
}

const BITS: readonly (readonly [NodeJS.Signals, bigint])[] = [
  ['SIGHUP', 1n],
  ['SIGINT', 2n],
  ['SIGQUIT', 4n],
  ['SIGTERM', 1n << 14n],
]

function signalsOf(mask: string): readonly NodeJS.Signals[] {
  const bits = BigInt(`0x${mask}`)
  return BITS.filter(([, bit]) => (bits & bit) !== 0n).map(([name]) => name)
}

/** The launcher traps every signal that its caller does not ignore, so the signals that it ignores were ignored before. */
function ignoredBy(launcher: number | undefined): string {
  if (launcher === undefined) return '0'
  try {
    return /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${launcher}/status`, 'latin1'))?.[1] ?? '0'
  } catch {
    return '0'
  }
}
