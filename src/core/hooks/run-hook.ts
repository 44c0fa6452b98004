import { spawn, type ChildProcess } from 'node:child_process'
import { setTimeout } from 'node:timers/promises'
import { messageOf, systemCode } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { HookEvent, HookName } from './hook-event.ts'
import { HookOutput } from './hook-output.ts'

export interface HookCall {
  readonly name: HookName
  /** For /bin/sh -c. */
  readonly command: string
  /** Written to its standard input, as JSON in one line. */
  readonly event: HookEvent
  /** After this time the hook is ended. */
  readonly timeoutMs: number
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
  /** Ends the hook; absent: only the timeout does. */
  readonly signal?: AbortSignal
  /** From SIGTERM to SIGKILL. */
  readonly graceMs?: number
}

export interface HookResult {
  readonly ok: boolean
  /** `exit code 3`, `ended by SIGSEGV`, `no end within 60s`, `interrupted`, `cannot start /bin/sh: EAGAIN`. */
  readonly how: string
}

/** Kept of what a hook prints. */
const MOST_OUTPUT_BYTES = 8192
const GRACE_MS = 5000
/** Processes that the hook left behind can hold the pipes; what it has printed itself is read sooner. */
const DRAIN_MS = 1000
/** A process that is stuck in the kernel does not end by SIGKILL. */
const KILL_WAIT_MS = 5000
const CHECK_MS = 50

/**
 * Run a hook: see docs/decisions/0048-hooks.md. Its output goes to the log, at level detail or, if it fails, with a warning.
 * A hook cannot make the run fail: this does not reject.
 */
export async function runHook(call: HookCall): Promise<HookResult> {
  const { name, log } = call
  const output = new HookOutput(MOST_OUTPUT_BYTES)
  const startMs = performance.now()
  const result = await run(call, output).catch((error: unknown) => failed(messageOf(error)))
  const durationMs = Math.round(performance.now() - startMs)
  const text = output.text()
  const lines = (first: string, hints: readonly string[] = []) =>
    [first, ...(text === '' ? [] : [text]), ...hints.map((hint) => `HINT: ${hint}`)].join('\n')
  if (result.ok) log.detail({ hook: name, durationMs }, lines(`hook-${name} ended (${durationMs}ms)`))
  else log.warn({ hook: name, durationMs }, lines(`hook-${name} failed: ${result.how}`, hintsFor(result.how)))
  return result
}

function hintsFor(how: string): string[] {
  if (how === 'exit code 127') return ['give the absolute path of the program, and check that it exists']
  if (how === 'exit code 126') return ['check that the user of pgts can execute the program']
  return []
}

async function run(call: HookCall, output: HookOutput): Promise<HookResult> {
  const { command, env, event, signal, timeoutMs } = call
  if (signal?.aborted === true) return failed('interrupted')
  // In its own session: the whole group can be ended, and ^C at a terminal reaches only pgts.
  const child = spawn('/bin/sh', ['-c', command], {
    cwd: '/',
    detached: true,
    env: hookEnvironment(env),
    stdio: 'pipe',
  })
  const streams = [child.stdin, child.stdout, child.stderr]
  // EPIPE: the hook does not read its input.
  for (const stream of streams) stream.on('error', () => undefined)
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.add(chunk))
  child.stdin.end(`${JSON.stringify(event)}\n`)

  const ended = endOf(child)
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const over = new AbortController()
  const pause = (ms: number) => setTimeout(ms, undefined, { signal: over.signal }).catch(() => undefined)
  try {
    const why = await Promise.race([
      ended.then(() => undefined),
      pause(timeoutMs).then(() => `no end within ${timeoutMs / 1000}s`),
      abortOf(signal, over.signal).then(() => 'interrupted'),
    ])
    if (why !== undefined) {
      await terminate(child, pause, call.graceMs ?? GRACE_MS)
      return failed(why)
    }
    await Promise.race([closed, pause(DRAIN_MS)])
    return await ended
  } finally {
    over.abort()
    for (const stream of streams) stream.destroy()
    child.unref()
  }
}

/** Does not reject; does not resolve for a process that never ends. */
function endOf(child: ChildProcess): Promise<HookResult> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(failed(`cannot start /bin/sh: ${systemCode(error) ?? error.message}`)))
    child.once('exit', (code, signal) => {
      if (code === 0) resolve({ ok: true, how: 'exit code 0' })
      else resolve(failed(code === null ? `ended by ${signal}` : `exit code ${code}`))
    })
  })
}

function abortOf(signal: AbortSignal | undefined, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal?.addEventListener('abort', () => resolve(), { once: true, signal: over }))
}

/** SIGTERM, then SIGKILL, for the process group. */
async function terminate({ pid }: ChildProcess, pause: (ms: number) => Promise<void>, graceMs: number): Promise<void> {
  if (pid === undefined) return
  for (const [signal, waitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', KILL_WAIT_MS],
  ] as const) {
    const deadlineMs = performance.now() + waitMs
    let exists = sendToGroup(pid, signal)
    while (exists && performance.now() < deadlineMs) {
      await pause(CHECK_MS)
      exists = sendToGroup(pid, 0)
    }
    if (!exists) return
  }
}

/** @returns false if the group has no process any more */
function sendToGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch (error) {
    // EPERM: the remaining processes belong to another user.
    return systemCode(error) !== 'ESRCH'
  }
}

/** What programs and shells need; nothing that can be a secret. */
function hookEnvironment(env: HookCall['env']): NodeJS.ProcessEnv {
  const allowed = Object.entries(env).filter(([name]) => VARIABLES.has(name) || name.startsWith('LC_'))
  return Object.fromEntries(allowed)
}

const VARIABLES = new Set(['HOME', 'LANG', 'LOGNAME', 'PATH', 'SHELL', 'TMPDIR', 'TZ', 'USER'])

function failed(how: string): HookResult {
  return { ok: false, how }
}
