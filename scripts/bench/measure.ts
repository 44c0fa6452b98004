import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { cleanEnv, testUser, type TestUser } from '../../test/support/postgres/postgres.ts'
import { allProcesses } from '../../test/support/processes/processes.ts'

/** One run of a command: wall and CPU seconds, and the highest memory of the whole process tree, MiB. */
export interface Measurement {
  readonly seconds: number
  readonly cpuSeconds: number
  readonly peakMiB: number
  /** Requests to the object store during the run. */
  readonly requests?: number
}

/**
 * Runs a command as the unprivileged user. CPU time comes from the shell's `time`, which counts every descendant that
 * was waited for; background processes of the program are added, which are recognised by arguments that name a file below
 * `cwd`. Memory is the sum of the proportional set sizes of the tree, sampled every 10 ms, so that pages that
 * processes share count once.
 */
export async function measure(
  command: readonly string[],
  cwd = '/',
  { signal, user = testUser, env, cpu }: MeasureOptions = {},
): Promise<Measurement> {
  const before = await cpu?.()
  const measured = await measureHere(command, cwd, { signal, user, env })
  return cpu === undefined || before === undefined ? measured : { ...measured, cpuSeconds: (await cpu()) - before }
}

export interface MeasureOptions {
  readonly signal?: AbortSignal
  /** Default: the unprivileged user. */
  readonly user?: TestUser
  readonly env?: Readonly<Record<string, string>>
  /** CPU seconds up to now of all processes that take part, also on other hosts. Default: those of the command. */
  readonly cpu?: () => Promise<number>
}

function measureHere(
  command: readonly string[],
  cwd: string,
  { signal, user, env }: { signal?: AbortSignal; user: TestUser; env?: Readonly<Record<string, string>> },
): Promise<Measurement> {
  return new Promise((resolve, reject) => {
    const before = backgroundCpu(cwd)
    const started = process.hrtime.bigint()
    const child = spawn('bash', ['-c', 'TIMEFORMAT="%U %S"; time "$@"', 'bash', ...command], {
      cwd,
      env: { ...cleanEnv(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: signal !== undefined,
      ...(testUser.switched ? { uid: user.uid, gid: user.gid } : {}),
    })
    let output = ''
    let times = ''
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (times += chunk.toString()))
    let peak = 0
    const timer = setInterval(() => (peak = Math.max(peak, treeMemory(child.pid!))), 10)
    // The whole process group: the shell would leave its children running.
    const onAbort = () => process.kill(-child.pid!, 'SIGTERM')
    signal?.addEventListener('abort', onAbort, { once: true })
    child.once('error', reject)
    child.once('close', (code) => {
      clearInterval(timer)
      signal?.removeEventListener('abort', onAbort)
      if (signal?.aborted === true) return reject(signal.reason as Error)
      const seconds = Number(process.hrtime.bigint() - started) / 1e9
      if (code !== 0) return reject(new Error(`${command.join(' ')} ended with ${code}\n${output}${times}`))
      const [user, system] = times.trim().split('\n').at(-1)!.split(' ').map(Number)
      const background = Math.max(0, backgroundCpu(cwd) - before)
      resolve({ seconds, cpuSeconds: (user ?? 0) + (system ?? 0) + background, peakMiB: peak / 1024 })
    })
  })
}

/** One call after the other, as a server does. Only the calls are timed, not `between`, which runs before each. */
export function measureCalls(
  calls: readonly string[],
  cwd: string,
  between: () => void | Promise<void>,
): Promise<Measurement> {
  // Only builtins of bash run between two calls; a line on standard input starts the next one.
  const script = `
    total=0
    while IFS= read -r call; do
      began=\${EPOCHREALTIME/./}
      eval "$call" || exit
      ended=\${EPOCHREALTIME/./}
      total=$((total + ended - began))
      echo done
    done
    echo "total $total"`
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', `TIMEFORMAT='%U %S'; time { ${script}\n}`], {
      cwd,
      env: { ...cleanEnv(), LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    let output = ''
    let times = ''
    const waiting = [...calls]
    const next = async () => {
      const call = waiting.shift()
      if (call === undefined) return void child.stdin.end()
      await between()
      child.stdin.write(`${call}\n`)
    }
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.endsWith('done\n')) next().catch(reject)
    })
    child.stderr.on('data', (chunk: Buffer) => (times += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) => {
      const total = Number(/^total (\d+)$/m.exec(output)?.[1])
      if (code !== 0 || Number.isNaN(total)) return reject(new Error(`the calls ended with ${code}\n${output}${times}`))
      const [user, system] = times.trim().split('\n').at(-1)!.split(' ').map(Number)
      resolve({ seconds: total / 1e6, cpuSeconds: (user ?? 0) + (system ?? 0), peakMiB: 0 })
    })
    next().catch(reject)
  })
}

/** Ticks of a second in /proc/PID/stat; the same on all Linux platforms of Node. */
const TICKS = 100

/** CPU seconds up to now of the processes whose arguments name something below a directory. */
function backgroundCpu(directory: string): number {
  if (directory === '/') return 0
  return allProcesses()
    .filter(({ args }) => args.some((arg) => arg.includes(directory)))
    .reduce((sum, { pid }) => sum + cpuOf(pid), 0)
}

function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS
  } catch {
    return 0
  }
}

/** Sum of the proportional set sizes of all descendants of `root`, KiB. */
function treeMemory(root: number): number {
  const children = new Map<number, number[]>()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
      const siblings = children.get(parent)
      if (siblings === undefined) children.set(parent, [pid])
      else siblings.push(pid)
    } catch {
      // it has ended
    }
  }
  let total = 0
  const pending = [...(children.get(root) ?? [])]
  for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
    pending.push(...(children.get(pid) ?? []))
    total += memoryOf(pid)
  }
  return total
}

/** Proportional set size of a process, KiB; 0: it has ended. */
export function memoryOf(pid: number): number {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0)
  } catch {
    return 0
  }
}
