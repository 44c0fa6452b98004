import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { launchEnvironment, writeLaunchHint, type LaunchCommand } from '../../src/core/archive/launcher/launch-hint.ts'
import { serveRequests, type ServeRequest } from '../../src/core/archive/resident/requests.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import { systemClock } from '../../src/util/clock.ts'
import { recordingLog } from '../support/builders/wal.ts'
import { LaunchSite, livingPid, NODE_CODE, SEGMENT, SHELLS } from '../support/processes/launch-site.ts'
import { isInstalled, pgtsProgram } from '../support/processes/test-user.ts'
import { until } from '../support/until.ts'

/** The launcher asks a resident process, and believes only its answer to this very request. */

const WAL = `pg_wal/${SEGMENT}`
const PUSH = ['--stanza=main', 'archive-push', WAL]
const GET = ['--stanza=main', 'archive-get', SEGMENT, 'pg_wal/RECOVERYXLOG']
const HISTORY = ['--stanza=main', 'archive-get', '00000002.history', 'pg_wal/RECOVERYHISTORY']
const DONE = { code: 0, stdout: '', stderr: '', node: undefined }
const MISSING = { ...DONE, code: 1 }
const NODE = { code: NODE_CODE, stdout: '', stderr: '' }
const shells = SHELLS.filter(([, [program = '']]) => isInstalled(program))

class ResidentSite extends LaunchSite {
  readonly resident = join(this.spool, 'pgts', 'resident-push-key')

  static async make(command: LaunchCommand, pattern: readonly (string | undefined)[]): Promise<ResidentSite> {
    const site = new ResidentSite()
    site.archived()
    rmSync(join(site.out, `${SEGMENT}.ok`))
    mkdirSync(site.resident, { mode: 0o700 })
    writeFileSync(join(site.resident, 'pid'), `${await livingPid()}\n`)
    const written = await writeLaunchHint({
      command,
      stanza: 'main',
      mode: 'resident',
      pgPath: site.data,
      spool: site.resident,
      lockPath: site.lock,
      configLooked: [site.config],
      environment: launchEnvironment({}, pgtsProgram(), [1]),
      callPattern: pattern,
      startedMs: Date.now() - 10_000,
    })
    expect(written).toBe(true)
    site.own()
    return site
  }

  static push = () => ResidentSite.make('archive-push', ['--stanza=main', 'archive-push', undefined])
  static get = () => ResidentSite.make('archive-get', ['--stanza=main', 'archive-get', undefined, undefined])

  get requests(): string[] {
    return readdirSync(this.resident).filter((name) => name !== 'pid')
  }

  /** The resident process, run in this process. */
  serve(
    handle: ServeRequest['handle'],
    request: Partial<ServeRequest> = {},
  ): AsyncDisposable & { why(): Promise<string> } {
    const stop = new AbortController()
    const ended = serveRequests({
      directory: textToBytes(this.resident),
      handle,
      endReason: () => undefined,
      idleMs: 60_000,
      onEnd: () => undefined,
      clock: systemClock,
      log: recordingLog(),
      signal: stop.signal,
      ...request,
    }).catch((error: unknown) => String(error))
    return {
      why: () => ended,
      [Symbol.asyncDispose]: async () => {
        stop.abort(new Error('end of the test'))
        await ended
      },
    }
  }
}

describe.each(shells)('%s', (_, shell) => {
  test('ends with 0 when the resident process has pushed the segment', async () => {
    const site = await ResidentSite.push()
    const asked: string[] = []
    await using _resident = site.serve((file) => {
      asked.push(file)
      return sleep(30, 'done')
    })
    expect(await site.run(shell, PUSH)).toMatchObject(DONE)
    // Repeated: each call is a request of its own.
    expect(await site.run(shell, PUSH)).toMatchObject(DONE)
    expect(asked).toEqual([SEGMENT, SEGMENT])
  })

  test('ends with 0 or 1 as the resident process has found the file or not', async () => {
    const site = await ResidentSite.get()
    await using _resident = site.serve(async (file) => (file === SEGMENT ? 'done' : 'missing'))
    expect(await site.run(shell, GET)).toMatchObject(DONE)
    expect(await site.run(shell, HISTORY)).toMatchObject(MISSING)
  })

  test('works in another directory when the path of the WAL is absolute', async () => {
    const push = await ResidentSite.push()
    await using _pushes = push.serve(async () => 'done')
    expect(await push.run(shell, ['--stanza=main', 'archive-push', push.wal()], { cwd: '/' })).toMatchObject(DONE)
    expect(await push.run(shell, PUSH, { cwd: '/' })).toMatchObject(NODE)

    const get = await ResidentSite.get()
    await using _gets = get.serve(async () => 'missing')
    const target = join(get.data, 'pg_wal', 'RECOVERYXLOG')
    expect(await get.run(shell, [...GET.slice(0, 3), target], { cwd: '/' })).toMatchObject(MISSING)
  })

  test('starts Node when the resident process refuses the request', async () => {
    const site = await ResidentSite.push()
    await using resident = site.serve(() => Promise.reject(new Error('the repository is full')))
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
    expect(await resident.why()).toBe('a request failed')
    expect(site.requests).toEqual([])
  })

  test('starts Node when a push is answered with the answer of a get', async () => {
    const site = await ResidentSite.push()
    await using _resident = site.serve(async () => 'missing')
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
  })

  test.each([
    ['answers', true],
    ['refuses', false],
  ])('does not wait for the end of its sleep when the resident process %s', async (_, isDone) => {
    const site = await ResidentSite.push()
    const bin = join(site.dir, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'sleep'), '#!/bin/sh\nexec /bin/sleep 3600\n')
    chmodSync(join(bin, 'sleep'), 0o755)
    site.own()
    await using _resident = site.serve(async () => {
      if (isDone) return 'done'
      throw new Error('the repository is full')
    })
    const env = { PATH: `${bin}:/usr/bin:/bin` }
    expect(await site.run(shell, PUSH, { env })).toMatchObject(isDone ? DONE : NODE)
  })

  test('starts Node when no process begins with the request', async () => {
    const site = await ResidentSite.push()
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
    expect(site.requests).toEqual([])
  })

  test('starts Node when the resident process ends while it works', async () => {
    const site = await ResidentSite.push()
    await using _resident = site.serve(async (_, { signal }) => {
      rmSync(join(site.resident, 'pid'))
      await systemClock.sleep(60_000, signal)
      return 'done'
    })
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
    // Cancelled, because the launcher has removed its request.
    await until('the end of the request', () => site.requests.length === 0)
  })

  test('does not accept another file under the name of the answer', async () => {
    const site = await ResidentSite.push()
    await using _resident = site.serve(async () => {
      const [request = ''] = site.requests
      rmSync(join(site.resident, request))
      writeFileSync(join(site.resident, request.replace('.run', '.done')), '')
      return 'done'
    })
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
  })

  test.each<[string, (site: ResidentSite) => void]>([
    ['the process id is that of no process', (site) => writeFileSync(join(site.resident, 'pid'), '4194305\n')],
    ['the process id is missing', (site) => rmSync(join(site.resident, 'pid'))],
    ['the directory is missing', (site) => rmSync(site.resident, { recursive: true })],
    [
      'the directory is a link',
      (site) => {
        rmSync(join(site.resident, '..', 'other'), { recursive: true, force: true })
        symlinkSync(site.spool, join(site.resident, '..', 'other'))
        rmSync(site.resident, { recursive: true })
        symlinkSync('other', site.resident)
      },
    ],
    ['the stanza is stopped', (site) => writeFileSync(join(site.lock, 'main.stop'), '')],
    ['the configuration is newer', (site) => writeFileSync(site.config, 'new')],
    ['the segment is missing', (site) => rmSync(site.wal())],
  ])('starts Node at once when %s', async (_, change) => {
    const site = await ResidentSite.push()
    await using _resident = site.serve(async () => 'done')
    change(site)
    const began = performance.now()
    expect(await site.run(shell, PUSH)).toMatchObject(NODE)
    expect(performance.now() - began).toBeLessThan(20_000)
  })

  test.each<[string, (site: ResidentSite) => void]>([
    ['a file', (site) => writeFileSync(join(site.data, 'pg_wal/RECOVERYXLOG'), '')],
    ['a link', (site) => symlinkSync('nowhere', join(site.data, 'pg_wal/RECOVERYXLOG'))],
  ])('starts Node when %s is at the target of a get', async (_, change) => {
    const site = await ResidentSite.get()
    await using _resident = site.serve(async () => 'done')
    change(site)
    site.own()
    expect(await site.run(shell, GET)).toMatchObject(NODE)
  })

  test('starts Node for another target than that of PostgreSQL', async () => {
    const site = await ResidentSite.get()
    await using _resident = site.serve(async () => 'done')
    for (const target of ['pg_wal/other', 'RECOVERYXLOG', 'pg_wal/RECOVERYHISTORY', join(site.dir, 'RECOVERYXLOG')])
      expect(await site.run(shell, [...GET.slice(0, 3), target])).toMatchObject(NODE)
  })
})

test('answers several calls at a time', async () => {
  const site = await ResidentSite.push()
  const names = ['1', '2', '3'].map((digit) => `${SEGMENT.slice(0, -1)}${digit}`)
  for (const name of names) site.archived(name)
  await using _resident = site.serve(() => sleep(200, 'done'))
  const calls = names.map((name) => site.run(['sh'], ['--stanza=main', 'archive-push', `pg_wal/${name}`]))
  for (const result of await Promise.all(calls)) expect(result).toMatchObject(DONE)
})

test('removes requests and answers of launchers that have ended', async () => {
  const site = await ResidentSite.push()
  for (const ending of ['', '.run', '.done', '.missing'])
    writeFileSync(join(site.resident, `${SEGMENT}.4194305${ending}`), '')
  writeFileSync(join(site.resident, 'lock'), '')
  await using _resident = site.serve(() => Promise.reject(new Error('no launcher waits')))
  await until('the end of stale files', () => site.requests.join() === 'lock')
})

test('reports once that no request has come for some seconds', async () => {
  const site = await ResidentSite.push()
  let nowMs = 0
  let looks = 0
  let quiet = 0
  const clock = { ...systemClock, nowMs: () => nowMs }
  const endReason = () => void looks++
  await using _resident = site.serve(async () => 'done', { clock, endReason, onQuiet: () => quiet++ })
  nowMs = 4000
  expect(await site.run(['sh'], PUSH)).toMatchObject(DONE)
  nowMs = 8999
  const before = looks
  await until('a further look', () => looks > before + 1)
  expect(quiet).toBe(0)
  nowMs = 9000
  await until('quiet', () => quiet > 0)
  const after = looks
  await until('a further look', () => looks > after + 1)
  expect(quiet).toBe(1)
})

test('ends after a time without requests, and for the reason that it is given', async () => {
  const site = await ResidentSite.push()
  await using idle = site.serve(async () => 'done', { idleMs: 0 })
  expect(await idle.why()).toBe('it was idle')
  await using outdated = site.serve(async () => 'done', { endReason: () => 'the configuration has changed' })
  expect(await outdated.why()).toBe('the configuration has changed')
})
