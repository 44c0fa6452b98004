import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hookError, hookEvent } from '../../../../src/core/hooks/hook-event.ts'
import { runHook, type HookCall } from '../../../../src/core/hooks/run-hook.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import { isAlive } from '../../../../src/util/is-alive.ts'
import { silentLogger, type LogFields, type Logger } from '../../../../src/util/log.ts'
import { until } from '../../../support/until.ts'

let directory: string
const left: number[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgts-hook-'))
})
afterEach(() => {
  for (const pid of left.splice(0)) if (isAlive(pid)) process.kill(pid, 'SIGKILL')
  rmSync(directory, { recursive: true })
})

const event = hookEvent(
  'backup-after',
  { stanza: 'main', nowMs: Date.UTC(2026, 0, 2, 3, 4, 5) },
  {
    ok: false,
    began: true,
    durationMs: 5,
    error: hookError(new PgtsError('file-missing', 'one\ntwo', { hints: ['three'] })),
  },
)
/** Long enough that no hook of these tests reaches it, except those that hang. */
const LONG_MS = 60_000
/** For those that hang: long enough that their shell has done its first commands. */
const HUNG_MS = 2000

async function hook(command: string, more: Partial<HookCall> = {}) {
  const records: string[] = []
  const record = (level: string) => (first: string | LogFields, message?: string) =>
    void records.push(`${level}: ${(message ?? String(first)).replace(/\(\d+ms\)/, '(0ms)')}`)
  const log: Logger = { ...silentLogger, warn: record('warn'), detail: record('detail') }
  const env = { PATH: process.env['PATH'], HOME: '/home/db', ...more.env }
  const result = await runHook({ name: 'backup-after', command, event, timeoutMs: LONG_MS, log, ...more, env })
  return { ...result, records, log: records.join('\n') }
}

const pidIn = (name: string) => {
  const pid = Number(readFileSync(join(directory, name), 'utf8'))
  left.push(pid)
  return pid
}

describe('a hook', () => {
  test('reads the event as one line of JSON, and its output is logged at level detail', async () => {
    const { ok, records } = await hook(`cat >'${directory}/event'; wc -l <'${directory}/event'; echo to stderr >&2`)
    expect(ok).toBe(true)
    expect(records).toHaveLength(1)
    expect(records[0]).toMatch(/^detail: hook-backup-after ended \(0ms\)\n/)
    expect(records[0]!.split('\n').slice(1).sort()).toEqual(['1', 'to stderr'])
    expect(JSON.parse(readFileSync(join(directory, 'event'), 'utf8'))).toMatchObject({
      hook: 'backup-after',
      stanza: 'main',
      time: '2026-01-02T03:04:05.000Z',
      ok: false,
      error: { code: 55, name: 'file-missing', message: 'one\ntwo', hints: ['three'] },
    })
  })

  test('has a few variables and the root directory', async () => {
    const env = { PGTS_REPO1_CIPHER_PASS: 'geheim', PGPASSWORD: 'x', LC_ALL: 'C' }
    const { log } = await hook('env | sed s/=.*// | sort | tr "\\n" " "; pwd', { env })
    expect(log.split('\n')[1]).toMatch(/^(PWD |SHLVL |OLDPWD |_ )*HOME (LC_ALL )(OLDPWD )?PATH (PWD |SHLVL |_ )*\/$/)
  })

  test.each([
    ['exits with another code', 'echo no space; exit 3', 'exit code 3\nno space'],
    ['is ended by a signal', 'kill -9 $$', 'ended by SIGKILL'],
    ['does not exist', '/nowhere/hook', /^exit code 127\n.*\nHINT: give the absolute path/],
    ['is not executable', '/etc/passwd', /^exit code 126\n.*\nHINT: check that the user of pgts can execute/],
    ['is not a command', 'if', /^exit code [12]\n.*(Syntax|syntax) error/],
  ])('that %s causes one warning with its output', async (_, command, expected) => {
    const { ok, records } = await hook(command)
    expect({ ok, count: records.length }).toEqual({ ok: false, count: 1 })
    const said = records[0]!.replace('warn: hook-backup-after failed: ', '')
    if (typeof expected === 'string') expect(said).toBe(expected)
    else expect(said).toMatch(expected)
  })

  test('that closes its input without reading is no error, however long the event is', async () => {
    const long = hookEvent(
      'backup-after',
      { stanza: 'x'.repeat(1024 * 1024), nowMs: 0 },
      { ok: true, began: true, durationMs: 0 },
    )
    expect(await hook('exec <&-; echo done', { event: long })).toMatchObject({ ok: true })
  })

  test('that hangs is ended with everything in its group', async () => {
    const result = await hook(`sleep 1000 & echo $! >'${directory}/child'; echo $$ >'${directory}/own'; wait`, {
      timeoutMs: HUNG_MS,
    })
    expect(result).toMatchObject({ ok: false, how: 'no end within 2s' })
    const pids = [pidIn('own'), pidIn('child')]
    await until('the end of both', () => !pids.some(isRunning))
  })

  test('that ignores SIGTERM is killed', async () => {
    const script = `trap '' TERM; echo $$ >'${directory}/own'; while :; do sleep 1; done`
    expect(await hook(script, { timeoutMs: HUNG_MS, graceMs: 200 })).toMatchObject({
      ok: false,
      how: 'no end within 2s',
    })
    const pid = pidIn('own')
    await until('its end', () => !isRunning(pid))
  })

  test('may clean up when it is ended', async () => {
    const script = `trap 'echo cleaned up; exit' TERM; echo waiting; while :; do sleep 0.1; done`
    const { log } = await hook(script, { timeoutMs: HUNG_MS })
    // Some shells report the end of the command that they were waiting for.
    expect(log).toMatch(/^warn: hook-backup-after failed: no end within 2s\nwaiting\n(Terminated\n)?cleaned up$/)
  })

  test('ends when the run is interrupted', async () => {
    const interrupt = new AbortController()
    const file = join(directory, 'own')
    const running = hook(`echo $$ >'${file}.new'; mv '${file}.new' '${file}'; sleep 1000`, { signal: interrupt.signal })
    await until('its start', () => {
      try {
        return readFileSync(file, 'utf8') !== ''
      } catch {
        return false
      }
    })
    interrupt.abort()
    expect(await running).toMatchObject({ ok: false, how: 'interrupted' })
    expect(isRunning(pidIn('own'))).toBe(false)
    expect(await hook('exit 0', { signal: interrupt.signal })).toMatchObject({ ok: false, how: 'interrupted' })
  })

  test('that leaves a process with its pipes behind does not delay the run', async () => {
    const script = `setsid sleep 1000 & echo $! >'${directory}/daemon'; echo started`
    const { ok, log } = await hook(script)
    expect({ ok, log }).toEqual({ ok: true, log: 'detail: hook-backup-after ended (0ms)\nstarted' })
    expect(isRunning(pidIn('daemon'))).toBe(true)
  })

  test('that prints hundreds of megabytes is read to its end, and only the beginning and the end are kept', async () => {
    const script = 'echo first; yes some text of a line | head -c 300000000; echo; echo last'
    const { ok, log } = await hook(script)
    expect(ok).toBe(true)
    expect(log.length).toBeLessThan(9000)
    expect(log).toMatch(/^detail: [^\n]*\nfirst\nsome text of a line\n/)
    expect(log).toMatch(/\n\.\.\. 29999\d{4} bytes left out \.\.\.\nsome text of a line\n/)
    expect(log.endsWith('\nlast')).toBe(true)
  }, 60_000)

  test('does not inherit a lock file of this process', async () => {
    const { openSync, closeSync } = await import('node:fs')
    const { tryLockExclusive } = await import('../../../../src/util/flock.ts')
    const path = join(directory, 'main-backup.lock')
    writeFileSync(path, '')
    const held = openSync(path, 'r+')
    expect(tryLockExclusive(held)).toBe(true)
    await hook(`setsid sleep 1000 & echo $! >'${directory}/daemon'`)
    expect(isRunning(pidIn('daemon'))).toBe(true)
    closeSync(held)
    const again = openSync(path, 'r+')
    expect(tryLockExclusive(again)).toBe(true)
    closeSync(again)
  })
})

/** A zombie waits for its parent, which may be the init process of a container. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
