import { describe, expect, test } from 'vitest'
import { leaseName, parseLease, serialiseLease, type HostPlace } from '../../../../src/core/lease/lease-file.ts'
import { breakLease, leaseOf, STALE_MS, takeLease, type LeaseRequest } from '../../../../src/core/lease/lease.ts'
import { howLong } from '../../../../src/core/lease/life.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import type { Clock } from '../../../../src/util/clock.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'
import { recordingLog } from '../../../support/builders/wal.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const signal = new AbortController().signal
const here: HostPlace = { boot: 'b1', machine: 'm1', lockPath: '1:2' }
const elsewhere: HostPlace = { boot: 'b2', machine: 'm2', lockPath: '1:2' }

/** Time that only the test advances; a sleep ends when the time has reached its end. */
function aClock(): Clock & { pass(ms: number): Promise<void> } {
  let nowMs = Date.now()
  let sleepers: { atMs: number; wake: () => void }[] = []
  return {
    nowMs: () => nowMs,
    sleep: (ms, stop) =>
      new Promise((resolve, reject) => {
        if (stop?.aborted) reject(stop.reason as Error)
        sleepers.push({ atMs: nowMs + ms, wake: resolve })
        stop?.addEventListener('abort', () => reject(stop.reason as Error), { once: true })
      }),
    async pass(ms) {
      nowMs += ms
      const due = sleepers.filter(({ atMs }) => atMs <= nowMs)
      sleepers = sleepers.filter(({ atMs }) => atMs > nowMs)
      for (const { wake } of due) wake()
      // Code after a sleep does a few operations in memory.
      for (let turn = 0; turn < 50; turn++) await Promise.resolve()
      await new Promise(setImmediate)
    },
  }
}

interface Changes extends Partial<Omit<LeaseRequest, 'clock' | 'log'>> {
  readonly clock?: ReturnType<typeof aClock>
}

let runs = 0
function request(storage: StorageDriver, change: Changes = {}) {
  const log = recordingLog()
  const lost: PgtsError[] = []
  return {
    repository: repositoryWith(storage),
    stanza: 'main',
    host: 'db1',
    pid: 4711,
    command: 'backup',
    token: `run ${++runs}`,
    place: here,
    clock: aClock(),
    log,
    signal,
    onLost: (reason: PgtsError) => void lost.push(reason),
    lost,
    ...change,
  }
}

/** A store that does not know conditions: it ignores them and writes. */
function ignoringConditions(storage: MemoryStorage): StorageDriver {
  return {
    ...storage,
    createIfAbsent: async (name, bytes) => {
      await putFile(storage, name, bytes)
      return true
    },
  }
}

const UNCONDITIONAL: Record<string, (memory: MemoryStorage) => StorageDriver> = {
  'does not know conditions': ({ createIfAbsent: _, ...memory }) => memory,
  'ignores conditions': ignoringConditions,
  'refuses conditions': (memory) => ({
    ...memory,
    createIfAbsent: () => Promise.reject(new PgtsError('feature-not-supported', 'not implemented')),
  }),
}

async function refusal(promise: Promise<unknown>): Promise<PgtsError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!isPgtsError(error)) throw new Error('no error was thrown')
  return error
}

describe('a lease', () => {
  test('is held by one host at a time, and released', async () => {
    const storage = memoryStorage()
    const first = await takeLease(request(storage))
    const error = await refusal(takeLease(request(storage, { place: elsewhere, host: 'db2' })))
    expect(error.code).toBe('lock-acquire')
    expect(error.message).toMatch(
      /^repo1 is in use: host db1 \(process 4711, backup\) holds the lease since \S+Z, last sign of life \d seconds? ago$/,
    )
    expect(error.hints.join('\n')).toContain('wait for this command to end')
    await first[Symbol.asyncDispose]()
    expect([...storage.files.keys()]).toEqual([])
    await using _second = await takeLease(request(storage, { place: elsewhere, host: 'db2' }))
    expect((await leaseOf(storage, 'main'))?.lease?.host).toBe('db2')
  })

  test('is taken by one of many hosts that request it at the same time', async () => {
    const storage = memoryStorage()
    const asked = await Promise.allSettled(
      Array.from({ length: 8 }, (_, index) =>
        takeLease(request(storage, { place: { ...elsewhere, machine: `m${index}`, boot: `b${index}` } })),
      ),
    )
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('that does not exist yet is created without reading it first', async () => {
    const memory = memoryStorage()
    let stats = 0
    const storage: StorageDriver = { ...memory, stat: (...all) => (stats++, memory.stat(...all)) }
    await using _held = await takeLease(request(storage))
    expect(stats).toBe(0)
  })

  test('of another stanza excludes nothing', async () => {
    const storage = memoryStorage()
    await using _one = await takeLease(request(storage))
    await using _other = await takeLease(request(storage, { stanza: 'other', place: elsewhere }))
    expect([...storage.files.keys()].sort()).toEqual(['pgts/main/lease.json', 'pgts/other/lease.json'])
  })

  test('of a dead process of this host is taken over', async () => {
    const storage = memoryStorage()
    await takeLease(request(storage))
    const next = request(storage, { pid: 12 })
    await using _held = await takeLease(next)
    expect((await leaseOf(storage, 'main'))?.lease?.pid).toBe(12)
    expect(next.log.lines.join('\n')).toContain(
      'took over the lease of process 4711 on this host (backup), which is dead',
    )
  })

  test.each([
    ['another host', elsewhere],
    ['another lock path of this host', { ...here, lockPath: '1:3' }],
    ['a host without identification', undefined],
  ])('of %s is never taken over, however old', async (_, place) => {
    const storage = memoryStorage()
    const dead = request(storage, { place })
    await takeLease(dead)
    const clock = aClock()
    await clock.pass(100 * STALE_MS)
    const error = await refusal(takeLease(request(storage, { clock })))
    expect(error.code).toBe('lock-acquire')
    expect(error.hints.join('\n')).toContain('pgts --stanza=main lease --repo=1 --break')
    expect((await leaseOf(storage, 'main'))?.lease?.token).toBe(dead.token)
  })

  test('of this host before its last boot is taken over when it is not renewed', async () => {
    const storage = memoryStorage()
    await takeLease(request(storage, { place: { ...here, boot: 'b0' } }))
    const clock = aClock()
    await refusal(takeLease(request(storage, { clock })))
    await clock.pass(STALE_MS + 10_000)
    await using _held = await takeLease(request(storage, { clock }))
  })

  test('is renewed while it is held', async () => {
    const storage = memoryStorage()
    const held = request(storage)
    await using _lease = await takeLease(held)
    const before = (await leaseOf(storage, 'main'))?.lease
    await held.clock.pass(60_000)
    const after = (await leaseOf(storage, 'main'))?.lease
    expect(after).toEqual({ ...before, renewedMs: held.clock.nowMs() })
    expect(held.lost).toEqual([])
  })

  test('that was broken stops its holder, which does not change the next lease', async () => {
    const storage = memoryStorage()
    const held = request(storage)
    const lease = await takeLease(held)
    await breakLease(storage, 'main', { force: true, nowMs: held.clock.nowMs(), signal })
    const next = request(storage, { place: elsewhere, host: 'db2' })
    await using _next = await takeLease(next)
    await held.clock.pass(60_000)
    expect(held.lost.map(({ code }) => code)).toEqual(['lock-acquire'])
    expect(held.lost[0]?.message).toContain('was removed or replaced: host db2')
    await lease[Symbol.asyncDispose]()
    expect((await leaseOf(storage, 'main'))?.lease?.token).toBe(next.token)
  })

  test('is broken by --break only when it is stale, or with --force', async () => {
    const storage = memoryStorage()
    const nowMs = Date.now()
    expect(await breakLease(storage, 'main', { force: false, nowMs, signal })).toBeUndefined()
    await takeLease(request(storage))
    const error = await refusal(breakLease(storage, 'main', { force: false, nowMs, signal }))
    expect(error.message).toContain('the lease is not broken: host db1')
    const broken = await breakLease(storage, 'main', { force: false, nowMs: nowMs + STALE_MS + 60_000, signal })
    expect(broken?.lease?.host).toBe('db1')
    expect(await leaseOf(storage, 'main')).toBeUndefined()
  })

  test('that cannot be read is treated as held', async () => {
    const storage = memoryStorage()
    for (const bytes of ['', '{"version":2}', 'null', '{"version":1,"token":1}']) {
      await putFile(storage, leaseName('main'), Buffer.from(bytes))
      const error = await refusal(takeLease(request(storage)))
      expect(error.message).toContain('there is a lease that this version of pgts cannot read')
    }
  })

  describe.each(Object.entries(UNCONDITIONAL))('where a store %s', (kind, wrap) => {
    const untilTaken = async (clock: ReturnType<typeof aClock>) => {
      for (let i = 0; i < 3; i++) await clock.pass(5_000)
    }

    test('is written and read back, refused to another host, and released', async () => {
      const memory = memoryStorage()
      const clock = aClock()
      const held = request(wrap(memory), { clock })
      const taking = takeLease(held)
      await untilTaken(clock)
      const lease = await taking
      expect(held.log.lines.filter((line) => line.includes('the lease is written and read back'))).toHaveLength(1)
      const error = await refusal(takeLease(request(wrap(memory), { place: elsewhere, host: 'db2' })))
      expect(error.code).toBe('lock-acquire')
      expect((await leaseOf(memory, 'main'))?.lease?.host, 'not replaced').toBe('db1')
      await untilTaken(clock)
      expect(held.lost).toEqual([])
      await lease[Symbol.asyncDispose]()
      expect([...memory.files.keys()]).toEqual([])
    })

    test('written by two hosts at the same time is held by one of them', async () => {
      const memory = memoryStorage()
      const clock = aClock()
      const hosts = ['db1', 'db2'].map((host) =>
        request(wrap(memory), { clock, host, place: { ...elsewhere, boot: host, machine: host } }),
      )
      const taking = hosts.map((host) =>
        takeLease(host).then(
          () => undefined,
          (error: unknown) => error,
        ),
      )
      await untilTaken(clock)
      const refused = await Promise.all(taking)
      const stopped = hosts.map(({ lost }, i) => refused[i] ?? lost[0])
      expect(stopped.filter((error) => isPgtsError(error, 'lock-acquire'))).toHaveLength(1)
      expect(stopped.filter((error) => error === undefined)).toHaveLength(1)
      // Where conditions are ignored the command begins before that is known.
      expect(refused.every((error) => error === undefined)).toBe(kind === 'ignores conditions')
      expect((await leaseOf(memory, 'main'))?.lease?.host).toBe(hosts[stopped.indexOf(undefined)]?.host)
    })
  })

  test('with control characters is read without them, one with an invalid time is not read', () => {
    const lease = { token: 't', host: 'a\u001b[2Jb\n', pid: 1, command: 'x'.repeat(1000), sinceMs: 1, renewedMs: 2 }
    expect(parseLease(serialiseLease(lease))).toEqual({ ...lease, host: 'a?[2Jb?', command: 'x'.repeat(200) })
    expect(parseLease(Buffer.from(JSON.stringify({ version: 1, ...lease, sinceMs: 1e300 })))).toBeUndefined()
  })
})

/** Credentials that may write but not remove. `calls`: number of removal requests. */
function noRemoval(storage: StorageDriver): StorageDriver & { calls: number } {
  const refuse = async () => {
    denying.calls++
    throw new PgtsError('access', 'access denied', { denied: true })
  }
  const denying = { ...storage, calls: 0, remove: refuse, removeFiles: refuse, removeTree: refuse }
  return denying
}

describe('a lease in a repository where removal is denied', () => {
  const elsewhereAs = (name: string) => ({ place: { ...elsewhere, machine: name, boot: name }, host: name })

  test('is released by overwriting the file, and taken again by this and by other hosts', async () => {
    const memory = memoryStorage()
    const storage = noRemoval(memory)
    for (const host of ['db1', 'db2', 'db1', 'db3']) {
      const held = request(storage, elsewhereAs(host))
      const lease = await takeLease(held)
      expect((await leaseOf(storage, 'main'))?.lease?.token).toBe(held.token)
      const error = await refusal(takeLease(request(storage, elsewhereAs('db9'))))
      expect(error.message).toContain(`repo1 is in use: host ${host} (process 4711, backup) holds the lease`)
      await held.clock.pass(60_000)
      expect((await leaseOf(storage, 'main'))?.lease?.renewedMs).toBe(held.clock.nowMs())
      await lease[Symbol.asyncDispose]()
      expect(await leaseOf(storage, 'main')).toBeUndefined()
      expect(held.log.lines).toEqual([])
      expect(held.lost).toEqual([])
    }
    expect(storage.calls).toBeGreaterThan(0)
  })

  test('is taken by one of many hosts that request it at the same time', async () => {
    const storage = noRemoval(memoryStorage())
    for (let round = 0; round < 3; round++) {
      const asked = await Promise.allSettled(
        Array.from({ length: 8 }, (_, index) => takeLease(request(storage, elsewhereAs(`h${index}`)))),
      )
      const taken = asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
      expect(taken).toHaveLength(1)
      await taken[0]![Symbol.asyncDispose]()
    }
  })

  test('excludes a host that may remove, and leaves few files', async () => {
    const memory = memoryStorage()
    await (await takeLease(request(noRemoval(memory))))[Symbol.asyncDispose]()
    for (let run = 0; run < 5; run++) {
      const lease = await takeLease(request(memory, elsewhereAs('db2')))
      await refusal(takeLease(request(noRemoval(memory), elsewhereAs('db3'))))
      await lease[Symbol.asyncDispose]()
    }
    expect([...memory.files.keys()].sort()).toEqual(['pgts/main/lease-5.json', 'pgts/main/lease.json'])
    expect(await leaseOf(memory, 'main')).toBeUndefined()
  })

  test('of dead processes of this host is taken over repeatedly', async () => {
    const storage = noRemoval(memoryStorage())
    for (let pid = 10; pid < 13; pid++) await takeLease(request(storage, { pid }))
    const last = request(storage, { pid: 13 })
    await using _held = await takeLease(last)
    expect((await leaseOf(storage, 'main'))?.lease?.pid).toBe(13)
    expect(last.log.lines.join()).toContain('took over the lease of process 12')
  })

  test('that was broken stops its holder, also after another host has taken it', async () => {
    const storage = noRemoval(memoryStorage())
    await (await takeLease(request(storage)))[Symbol.asyncDispose]()
    const held = request(storage)
    const lease = await takeLease(held)
    await breakLease(storage, 'main', { force: true, nowMs: held.clock.nowMs(), signal })
    expect(await leaseOf(storage, 'main')).toBeUndefined()
    const next = request(storage, elsewhereAs('db2'))
    await using _next = await takeLease(next)
    await held.clock.pass(60_000)
    expect(held.lost.map(({ code }) => code)).toEqual(['lock-acquire'])
    await lease[Symbol.asyncDispose]()
    expect((await leaseOf(storage, 'main'))?.lease?.token).toBe(next.token)
  })

  test('is released also where the store ignores conditions', async () => {
    const memory = memoryStorage()
    const storage = noRemoval(ignoringConditions(memory))
    for (const host of ['db1', 'db2']) {
      await (await takeLease(request(storage, elsewhereAs(host))))[Symbol.asyncDispose]()
      expect(await leaseOf(storage, 'main')).toBeUndefined()
    }
  })

  test('is reported when it can neither be removed nor overwritten', async () => {
    const held = request(noRemoval(memoryStorage()))
    const lease = await takeLease(held)
    const denied = async () => {
      throw new PgtsError('access', 'may not replace')
    }
    Object.assign(held.repository.storage, { create: denied })
    await lease[Symbol.asyncDispose]()
    expect(held.log.lines.join()).toContain('cannot release the lease: may not replace')
  })
})

test('durations are shown in one unit', () => {
  expect([-5, 1000, 119_000, 120_000, 7_300_000, 200_000_000].map(howLong)).toEqual([
    '0 seconds',
    '1 second',
    '119 seconds',
    '2 minutes',
    '2 hours',
    '2 days',
  ])
})
