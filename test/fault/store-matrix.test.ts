import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, test as plainTest } from 'vitest'
import { retrying } from '../../src/storage/object/retry.ts'
import { objectStorage } from '../../src/storage/object/storage.ts'
import type { StorageDriver } from '../../src/storage/driver.ts'
import { putFile, removeFiles } from '../../src/storage/whole-file.ts'
import { readAll } from '../../src/util/bytes.ts'
import { systemClock } from '../../src/util/clock.ts'
import { isPgtsError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'
import { inParallel } from '../../src/util/parallel.ts'
import type { FrontFaults } from '../support/faults/faulty-front.ts'
import { FaultyWay, OVERLOADED } from '../support/faults/faulty-way.ts'
import type { NetworkFaults } from '../support/faults/network-proxy.ts'
import { type Bucket, objectStores, type StoreName, titleOf } from '../support/stores/object-stores.ts'

// Every network fault to every store, at every latency, ends in success or in a typed error; every object that another
// client sees in the bucket during and after it is complete. PGTS_TEST_MATRIX=all runs all cells, else a sample.

const MIB = 1024 * 1024
const all = process.env['PGTS_TEST_MATRIX'] === 'all'

interface Fault {
  readonly network?: NetworkFaults
  readonly front?: FrontFaults
  /** Part of the sample. */
  readonly sample?: true
}

function faultsOf(store: StoreName): Record<string, Fault> {
  const strike = (direction: 'up' | 'down', how: 'reset' | 'close' | 'stall' | 'flip', times = 3): Fault => ({
    network: { strike: { direction, how, times, everyBytes: direction === 'up' ? 2.3 * MIB : 1.7 * MIB } },
  })
  return {
    'low bandwidth': { network: { bytesPerSecond: 4 * MIB } },
    'every third connection refused': { network: { refuseShare: 0.34 } },
    'resets of requests': { ...strike('up', 'reset'), sample: true },
    'resets of answers': strike('down', 'reset'),
    'closes during requests': strike('up', 'close'),
    'closes during answers': strike('down', 'close'),
    'stalls of requests': strike('up', 'stall', 1),
    'stalls of answers': strike('down', 'stall', 1),
    'flipped bits in requests': strike('up', 'flip'),
    'flipped bits in answers': strike('down', 'flip'),
    'bursts of overload': { front: { how: OVERLOADED[store], share: 0.3, times: 8 }, sample: true },
    'bursts of 500': { front: { how: { kind: 'answer', status: 500 }, share: 0.3, times: 8 } },
    'truncated bodies': {
      front: { how: { kind: 'truncate' }, only: ({ method }) => method === 'GET', share: 0.5, times: 8 },
      sample: true,
    },
    'lost answers': { front: { how: { kind: 'lose-answer' }, share: 0.2, times: 8 }, sample: true },
    silence: { front: { how: { kind: 'silence' }, share: 0.5, times: 1 } },
    'permanent overload': { front: { how: OVERLOADED[store] }, sample: true },
    'permanent silence': { front: { how: { kind: 'silence' } } },
    'every connection refused': { network: { refuseShare: 1 } },
  }
}

/** One object of three parts, and small ones of one request. */
const content = new Map<string, Buffer>([
  ['large', randomBytes(12 * MIB + 17)],
  ...Array.from({ length: 24 }, (_, i): [string, Buffer] => [`small/${i}`, randomBytes(100 + i * 7000)]),
])

describe.each(objectStores.map((store) => ({ title: titleOf(store), store })))('requests to $title', ({ store }) => {
  const test = plainTest.skipIf(store.missing !== undefined)
  let bucket: Bucket
  let way: FaultyWay
  beforeAll(async () => {
    if (store.missing !== undefined) return undefined
    bucket = await store.bucket()
    way = await FaultyWay.to(bucket)
    return () => way[Symbol.asyncDispose]()
  })

  const cells = (all ? [20, 80] : [20]).flatMap((roundTripMs) =>
    Object.entries(faultsOf(store.name))
      .filter(([, { sample }]) => all || sample === true)
      .map(([name, fault]) => ({ name, fault, roundTripMs })),
  )
  test.each(cells)(
    'with $roundTripMs ms and $name succeed or fail with a typed error',
    async ({ name, fault, roundTripMs }) => {
      const path = `${name.replaceAll(/[^a-z0-9]+/g, '-')}-${roundTripMs}`
      const endless = /permanent|every connection/.test(name)
      const client = await bucket.client(way.via)
      const policy = endless
        ? { retries: 3, totalMs: 3_000, timeoutMs: 700, firstWaitMs: 20 }
        : { retries: 20, totalMs: 60_000, timeoutMs: 3_000, firstWaitMs: 20, longestWaitMs: 500 }
      const storage = objectStorage(retrying(client, { policy, log: silentLogger, clock: systemClock }), { path })
      await using _closed = storage
      const watched = watch(bucket, path)
      const faults = { network: { latencyMs: roundTripMs / 2, ...fault.network }, front: fault.front }
      try {
        way.set(faults)
        const refusedBefore = way.network.counters.refused
        const struck = () =>
          way.front.counters.struck + way.network.counters.struck + way.network.counters.refused - refusedBefore
        const written = await outcome(writeAll(storage))
        expect(written, 'writing').toMatch(endless ? /^typed error: .*given up after/ : /^success$/)
        let met = struck()
        if (!endless) {
          // Resets the counter, so that reading meets the fault as well.
          way.set(faults)
          expect(await outcome(readBack(storage)), 'reading').toBe('success')
          met += struck()
          way.set(faults)
          expect(await outcome(removeSmall(storage)), 'removing').toBe('success')
        }
        if (fault.network?.bytesPerSecond === undefined) expect(met, 'faults that were met').toBeGreaterThan(0)
      } finally {
        way.set({})
        await watched.end()
      }
      const left = [...(await bucket.objects())].filter(([found]) => found.startsWith(`${path}/`))
      for (const [found, size] of left) expect([found, size]).toEqual([found, sizeOf(found)])
      if (!endless) expect(left.map(([found]) => found)).toEqual([`${path}/large`])
      expect(watched.torn).toEqual([])
      // Existing objects can be read without a fault, and every byte is right.
      for (const [found] of left) await expectWhole(storage, found.slice(path.length + 1))
    },
    120_000,
  )
})

const sizeOf = (found: string) => content.get(found.slice(found.indexOf('/') + 1))?.length

/** Another client lists the bucket repeatedly: every object that it sees has its full size. */
function watch(bucket: Bucket, path: string) {
  const torn: string[] = []
  let going = true
  const looking = (async () => {
    while (going) {
      await sleep(50)
      for (const [found, size] of await bucket.objects())
        if (found.startsWith(`${path}/`) && size !== sizeOf(found)) torn.push(`${found}: ${size}`)
    }
  })()
  return {
    torn,
    async end() {
      going = false
      await looking
    },
  }
}

async function outcome(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'success'
  } catch (error) {
    if (isPgtsError(error)) return `typed error: ${error.message}`
    throw error
  }
}

async function writeAll(storage: StorageDriver): Promise<void> {
  await inParallel([...content], 8, async ([name, bytes]) => {
    if (name !== 'large') return putFile(storage, name, bytes)
    await using file = await storage.create(name)
    for (let at = 0; at < bytes.length; at += MIB) await file.sink.write(bytes.subarray(at, at + MIB))
    await file.commit()
  })
}

async function readBack(storage: StorageDriver): Promise<void> {
  await inParallel([...content.keys()], 8, (name) => expectWhole(storage, name))
}

async function expectWhole(storage: StorageDriver, name: string): Promise<void> {
  const bytes = content.get(name)!
  const read = await readAll(await storage.read(name, { offset: 0, length: bytes.length }))
  expect(read.equals(bytes), name).toBe(true)
}

async function removeSmall(storage: StorageDriver): Promise<void> {
  await removeFiles(
    storage,
    [...content.keys()].filter((name) => name !== 'large'),
  )
}
