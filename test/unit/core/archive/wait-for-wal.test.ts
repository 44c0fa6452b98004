import { beforeEach, expect, test } from 'vitest'
import { waitForSegments, type WaitRequest } from '../../../../src/core/archive/wait-for-wal.ts'
import { parseWalSegment } from '../../../../src/format/wal-segment.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import type { Clock } from '../../../../src/util/clock.ts'
import { PgtsError, isPgtsError } from '../../../../src/util/error.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'
import { silentLogger } from '../../../../src/util/log.ts'

const FIRST = parseWalSegment('0000000100000000000000FF')
const SECOND = parseWalSegment('000000010000000100000000')
const SUM = 'a'.repeat(40)

let nowMs = 0
let storage = memoryStorage()
/** What happens at which moment of the fake clock. */
let events: { atMs: number; run: () => void }[] = []
beforeEach(() => {
  nowMs = 0
  storage = memoryStorage()
  events = []
})

const clock: Clock = {
  nowMs: () => nowMs,
  sleep: async (ms, signal) => {
    signal?.throwIfAborted()
    nowMs += ms
    for (const event of events.splice(0)) {
      if (event.atMs <= nowMs) event.run()
      else events.push(event)
    }
  },
}

function arrive(segment: string, checksum = SUM, extension = '.zst'): void {
  const name = `archive/main/15-1/${segment.slice(0, 16)}/${segment}-${checksum}${extension}`
  storage.files.set(name, { bytes: Buffer.alloc(1), mtimeMs: 0 })
}

function wait(options: Partial<WaitRequest> = {}) {
  return waitForSegments({
    repository: repositoryWith(storage),
    stanza: 'main',
    archiveId: '15-1',
    segments: [FIRST, SECOND],
    timeoutMs: 60_000,
    clock,
    signal: new AbortController().signal,
    log: silentLogger,
    ...options,
  })
}

async function failure(promise: Promise<unknown>): Promise<PgtsError> {
  try {
    await promise
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('it succeeded')
}

test('returns archived segments at once with checksum and compression', async () => {
  arrive(FIRST)
  arrive(SECOND, 'b'.repeat(40), '')
  arrive(`${SECOND}.partial`, 'c'.repeat(40))
  expect(await wait()).toEqual([
    {
      segment: FIRST,
      checksum: SUM,
      compressType: 'zst',
      repoName: `archive/main/15-1/0000000100000000/${FIRST}-${SUM}.zst`,
    },
    {
      segment: SECOND,
      checksum: 'b'.repeat(40),
      compressType: 'none',
      repoName: `archive/main/15-1/0000000100000001/${SECOND}-${'b'.repeat(40)}`,
    },
  ])
  expect(nowMs).toBe(0)
})

test('applies the timeout to each segment', async () => {
  events.push({ atMs: 50_000, run: () => arrive(FIRST) }, { atMs: 100_000, run: () => arrive(SECOND) })
  expect(await wait()).toHaveLength(2)
  expect(nowMs).toBeGreaterThanOrEqual(100_000)
  expect(nowMs).toBeLessThan(106_000)
})

test('finds a segment that arrives during the last pause', async () => {
  events.push({ atMs: 60_000, run: () => arrive(FIRST) })
  expect(await wait({ segments: [FIRST] })).toHaveLength(1)
})

test('a timeout reports the segment and the known causes', async () => {
  arrive(FIRST)
  const asked: string[] = []
  const explain = async (segment: string) => {
    asked.push(segment)
    return ['archive_mode is off']
  }
  const error = await failure(wait({ repository: repositoryWith(storage, { key: 2 }), explain }))
  expect(error).toMatchObject({ code: 'archive-timeout', exitCode: 82, hints: ['archive_mode is off'] })
  expect(error.message).toContain(`WAL segment ${SECOND} did not reach the archive of repo2`)
  expect(error.message).toContain('within 60 seconds')
  expect(asked).toEqual([SECOND])
  expect([...storage.files.keys()].filter((name) => name.includes(SECOND))).toEqual([])
})

test('a timeout reports that this process cannot write to the repository either', async () => {
  const create = () => Promise.reject(new PgtsError('file-open', 'read-only file system'))
  const error = await failure(wait({ repository: repositoryWith({ ...storage, create } as never), timeoutMs: 100 }))
  expect(error.hints.join()).toMatch(/cannot write there either: \[041\] read-only file system/)
})

test('reports the timeout when the diagnosis fails', async () => {
  const explain = () => Promise.reject(new PgtsError('db-query', 'gone'))
  const error = await failure(wait({ explain, timeoutMs: 100 }))
  expect(error).toMatchObject({ exitCode: 82 })
  expect(error.hints.join()).toContain('archive_command')
})

test('reports different contents at once, and accepts equal ones', async () => {
  arrive(FIRST, SUM, '.gz')
  arrive(FIRST, SUM, '.zst')
  expect((await wait({ segments: [FIRST] }))[0]?.compressType).toBe('gz')
  arrive(FIRST, 'b'.repeat(40))
  const error = await failure(wait({ segments: [FIRST] }))
  expect(error).toMatchObject({ exitCode: 45 })
  expect(error.hints.join()).toContain('two servers')
  expect(nowMs).toBe(0)
})

test('stops waiting when the command is interrupted', async () => {
  const controller = new AbortController()
  events.push({ atMs: 1000, run: () => controller.abort(new PgtsError('term', 'terminated')) })
  expect(await failure(wait({ signal: controller.signal }))).toMatchObject({ exitCode: 63 })
})

test('does not list again for segments of a previous listing', async () => {
  const names = Array.from({ length: 250 }, (_, i) =>
    parseWalSegment(`0000000100000000000000${i.toString(16).toUpperCase().padStart(2, '0')}`),
  )
  for (const name of names) arrive(name)
  let listings = 0
  const counting = {
    ...storage,
    list: (...args: Parameters<typeof storage.list>) => {
      listings++
      return storage.list(...args)
    },
  }
  expect(await wait({ repository: repositoryWith(counting), segments: names })).toHaveLength(250)
  expect(listings).toBe(1)
})
