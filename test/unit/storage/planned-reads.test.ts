import { describe, expect, test } from 'vitest'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { objectStorage } from '../../../src/storage/object/storage.ts'
import type { PartReading } from '../../../src/storage/driver.ts'
import { plannedReads, type WantedRange } from '../../../src/storage/planned-reads.ts'
import { readAll } from '../../../src/util/bytes.ts'
import { memoryObjects } from '../../support/stores/object-client.ts'

const KIB = 1024
const content = Buffer.from(Array.from({ length: 2 * 1024 * KIB }, (_, i) => (i * 31) % 253))
const never = new AbortController().signal

function setup(reading?: PartReading) {
  const objects = memoryObjects()
  for (const name of ['bundle', 'other']) objects.objects.set(name, { bytes: content, mtimeMs: 1 })
  return { objects, storage: objectStorage(objects, { path: '/', ...(reading && { reading }) }) }
}

async function readPlanned(
  { storage }: ReturnType<typeof setup>,
  wanted: readonly WantedRange[],
  read: readonly WantedRange[] = wanted,
): Promise<void> {
  await using planned = plannedReads(storage, wanted, never)
  for (const { name, offset, length } of read) {
    const got = await readAll(await planned.storage.read(name, { offset, length }))
    expect(got.equals(content.subarray(offset, offset + length))).toBe(true)
  }
}

const at = (offset: number, length: number, name = 'bundle') => ({ name, offset, length })

describe('planned reads', () => {
  test('are joined over small gaps and not over large ones', async () => {
    const given = setup()
    await readPlanned(given, [at(0, 100), at(100, 50), at(10_000, 10), at(500 * KIB, 5), at(501 * KIB, 5)])
    expect(given.objects.count('get')).toBe(2)
  })

  test.each([
    [0, 1],
    [3, 4],
  ])('with %i requests ahead have %i in flight at most', async (ahead, most) => {
    const given = setup({ ahead, gapBytes: 64 * KIB })
    given.objects.delayMs = 5
    await readPlanned(
      given,
      Array.from({ length: 12 }, (_, i) => at(i * 100 * KIB, 10)),
    )
    expect(given.objects.count('get')).toBe(12)
    expect(given.objects.mostInFlight).toBe(most)
  })

  test.each([
    [0, 3],
    [100, 2],
    [64 * KIB, 1],
  ])('read over gaps of %i bytes with %i requests', async (gapBytes, requests) => {
    const given = setup({ ahead: 3, gapBytes })
    await readPlanned(given, [at(0, 100), at(200, 100), at(401, 100)])
    expect(given.objects.count('get')).toBe(requests)
  })

  test('run in parallel with bounded memory', async () => {
    const given = setup()
    given.objects.delayMs = 5
    const wanted = Array.from({ length: 200 }, (_, i) =>
      at((i % 10) * 150 * KIB, 100 * KIB, i % 2 ? 'bundle' : 'other'),
    )
    await readPlanned(given, wanted)
    expect(given.objects.count('get')).toBe(200)
    expect(given.objects.mostInFlight).toBeGreaterThan(4)
    expect(given.objects.mostInFlight).toBeLessThanOrEqual(17)
  })

  test('cause no warning of Node when many requests wait for one signal', async () => {
    const warnings: string[] = []
    const onWarning = ({ name }: Error) => void warnings.push(name)
    process.on('warning', onWarning)
    try {
      const { objects, storage } = setup()
      // Each waits until the shared signal is aborted.
      objects.fault = ({ kind }) => (kind === 'get' ? { stall: true } : undefined)
      const wanted = Array.from({ length: 40 }, (_, i) => at(0, 1000, i % 2 ? 'bundle' : 'other'))
      await using planned = plannedReads(storage, wanted, never)
      await expect.poll(() => objects.count('get')).toBeGreaterThan(10)
      await planned[Symbol.asyncDispose]()
      await new Promise((resolve) => setImmediate(resolve))
    } finally {
      process.off('warning', onWarning)
    }
    expect(warnings).toEqual([])
  })

  test('can be skipped, repeated or unplanned', async () => {
    const given = setup()
    const wanted = Array.from({ length: 40 }, (_, i) => at(i * 30 * KIB, 1000, i % 2 ? 'bundle' : 'other'))
    await readPlanned(given, wanted, [wanted[30]!, wanted[30]!, wanted[3]!, at(7, 77), wanted[39]!, at(0, 0)])
  })

  test('report a failure to its reader only', async () => {
    const { storage } = setup()
    await using planned = plannedReads(storage, [at(0, 10), at(0, 10, 'absent'), at(5, 5)], never)
    await readAll(await planned.storage.read('bundle', { offset: 0, length: 10 }))
    await expect(planned.storage.read('absent', { offset: 0, length: 10 })).rejects.toMatchObject({
      code: 'file-missing',
    })
    await readAll(await planned.storage.read('bundle', { offset: 5, length: 5 }))
  })

  test('are ended when their reader closes', async () => {
    const { objects, storage } = setup()
    objects.fault = ({ kind }) => (kind === 'get' ? { stall: true } : undefined)
    await plannedReads(storage, [at(0, 10)], never)[Symbol.asyncDispose]()
    expect(objects.count('get')).toBe(1)
  })

  test('are not used for a local storage', () => {
    const storage = memoryStorage()
    expect(plannedReads(storage, [at(0, 10)], never).storage).toBe(storage)
  })
})
