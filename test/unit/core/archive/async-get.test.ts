import { spawn, type ChildProcess } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readAhead, type ReadAheadReport } from '../../../../src/core/archive/get/read-ahead.ts'
import { SegmentIndex } from '../../../../src/core/archive/get/segment-index.ts'
import { readRequest, writeRequest } from '../../../../src/core/archive/get/get-requests.ts'
import { getThroughSpool, type SpooledGetRequest } from '../../../../src/core/archive/get/through-spool.ts'
import { inWindow, moved, windowAfter } from '../../../../src/core/archive/get/window.ts'
import { pushWal } from '../../../../src/core/archive/push/push-wal.ts'
import {
  emptyDirectory,
  ownerDirectoryOf,
  isOwnerDirectory,
  makeOwnerDirectory,
} from '../../../../src/core/archive/spool/spool-owner.ts'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import { jobHandlers } from '../../../../src/core/jobs.ts'
import type { Repository } from '../../../../src/core/repository.ts'
import { createStanza } from '../../../../src/core/stanza/create.ts'
import { openWorkerEnv } from '../../../../src/core/worker-env.ts'
import { nextWalSegment, parseWalSegment, type WalSegment } from '../../../../src/format/wal-segment.ts'
import { localFiles } from '../../../../src/postgres/local-files.ts'
import { posixStorage } from '../../../../src/storage/posix.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { inlineExecutor } from '../../../../src/worker/inline.ts'
import { aSegment, aSystemId, recordingLog } from '../../../support/builders/wal.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const SIZE = 1024 * 1024
const MIB = 1024 * 1024
const identity = { systemId: aSystemId, version: '15' }

const at = (number: number, timeline = 1): WalSegment => {
  let segment = parseWalSegment(`${String(timeline).padStart(8, '0')}0000000000000001`)
  for (let i = 1; i < number; i++) segment = nextWalSegment(segment, SIZE)
  return segment
}

describe('window of segments to fetch', () => {
  test('contains as many segments as fit into the queue, and at least two', () => {
    expect([...windowAfter(at(1), SIZE, 3 * MIB)]).toEqual([at(2), at(3), at(4)])
    expect([...windowAfter(at(1), SIZE, 0)]).toEqual([at(2), at(3)])
    expect([...windowAfter(at(1), 16 * MIB, 8 * MIB)]).toHaveLength(2)
  })

  test('continues in the next log after the last segment of a log', () => {
    const last = parseWalSegment('000000010000000000000FFF')
    expect([...windowAfter(last, SIZE, 0)]).toEqual(['000000010000000100000000', '000000010000000100000001'])
    expect(inWindow(parseWalSegment('000000010000000100000001'), last, SIZE, 0)).toBe(true)
    expect(inWindow(parseWalSegment('000000010000000100000002'), last, SIZE, 0)).toBe(false)
  })

  test('contains no segment before replay and none of another timeline', () => {
    expect(inWindow(at(5), at(5), SIZE, 8 * MIB)).toBe(false)
    expect(inWindow(at(6, 2), at(5), SIZE, 8 * MIB)).toBe(false)
    expect(inWindow(at(6), at(5), SIZE, 8 * MIB)).toBe(true)
  })

  test('is computed lazily for a very large queue', () => {
    expect(inWindow(at(1000), at(5), SIZE, 2 ** 52)).toBe(true)
  })
})

describe('position of replay', () => {
  const here = { segment: at(5), back: false }

  test('moves to taken and to requested segments', () => {
    expect(moved(undefined, at(3), [])).toEqual({ segment: at(3), back: false })
    expect(moved(here, undefined, [at(7), at(6)])).toEqual({ segment: at(7), back: false })
    expect(moved(here, at(9), [at(6)])).toEqual({ segment: at(9), back: false })
    expect(moved(here, undefined, [])).toEqual(here)
  })

  test('moves to another timeline only after a request', () => {
    expect(moved(here, at(5, 2), [at(6)])).toEqual({ segment: at(5, 2), back: false })
  })

  test('fetches nothing ahead after a request backwards until a request forwards', () => {
    const back = moved(here, at(4), [])
    expect(back).toEqual({ segment: at(4), back: true })
    expect(moved(back, at(3), [])).toMatchObject({ back: true })
    expect(moved(back, at(5), [])).toMatchObject({ back: false })
  })
})

let dir = ''
let spool: SpoolPaths
let log = recordingLog()
let stop = new AbortController()
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-async-get-'))
  spool = spoolPaths(join(dir, 'spool'), 'main')
  prepareSpool(spool)
  log = recordingLog()
  stop = new AbortController()
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

interface TestRepository extends Repository {
  readonly path: string
}

async function aRepository(key = 1): Promise<TestRepository> {
  const path = join(dir, `repo${key}`)
  mkdirSync(path)
  const repository = repositoryWith(posixStorage(path), { key })
  const cluster = { ...identity, controlVersion: 1300, catalogVersion: 202209061 }
  await createStanza(repository, 'main', cluster, { signal: stop.signal, log })
  return { ...repository, path }
}

const contents = new Map<string, Buffer>()

async function archive(repository: TestRepository, ...segments: readonly WalSegment[]): Promise<void> {
  for (const segment of segments) {
    const content = contents.get(segment) ?? aSegment()
    contents.set(segment, content)
    const path = join(dir, segment)
    writeFileSync(path, content)
    await pushWal({
      stanza: 'main',
      path,
      files: localFiles(),
      repositories: [repository],
      compression: { type: 'zst', level: 1 },
      headerCheck: false,
      warnWhenArchived: false,
      log,
      signal: stop.signal,
    })
    rmSync(path)
  }
}

/** Name of the stored segment on disk. */
function stored(repository: TestRepository, segment: WalSegment): string {
  const directory = join(repository.path, 'archive', 'main', '15-1', segment.slice(0, 16))
  return join(
    directory,
    readdirSync(directory).find((name) => name.startsWith(segment))!,
  )
}

function inSpool(): string[] {
  return readdirSync(spool.in).sort()
}

async function until(what: string, test: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(5)) if (test()) return
  throw new Error(`timeout while waiting for ${what}: ${inSpool().join()} ${log.lines.join('\n')}`)
}

/** The background process, in this one. */
class Background {
  reason: string | undefined
  readonly ended: Promise<ReadAheadReport>

  /** @param hold awaited before the result of a fetched segment is returned */
  constructor(
    repositories: readonly TestRepository[],
    queueMaxBytes = 3 * MIB,
    hold: (segment: WalSegment) => Promise<void> = () => Promise.resolve(),
  ) {
    const fetchSegment: (typeof jobHandlers)['fetch-segment'] = async (job, ...rest) => {
      const result = await jobHandlers['fetch-segment'](job, ...rest)
      await hold(job.segment)
      return result
    }
    const executor = inlineExecutor({ ...jobHandlers, 'fetch-segment': fetchSegment }, () =>
      openWorkerEnv({
        repositories: repositories.map(({ key, path }) => ({ key, storage: { kind: 'posix', path } })),
        cluster: { kind: 'local' },
        bufferBytes: MIB,
      }),
    )
    this.ended = readAhead({
      stanza: 'main',
      spool,
      target: join(dir, 'RECOVERYXLOG'),
      systemId: aSystemId,
      segmentSize: SIZE,
      queueMaxBytes,
      index: new SegmentIndex({ stanza: 'main', identity, repositories, clock: systemClock, log }),
      executor,
      endReason: () => this.reason,
      clock: systemClock,
      log,
      signal: stop.signal,
    })
    this.ended.catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reason ??= 'the test is over'
    await this.ended.catch(() => undefined)
  }
}

let calls = 0
function ask(segment: WalSegment): void {
  writeRequest(spool, { segment, call: String(++calls) })
}

function take(segment: WalSegment): void {
  expect(readFileSync(join(spool.in, segment)).equals(contents.get(segment)!)).toBe(true)
  rmSync(join(spool.in, segment))
}

describe('readAhead', () => {
  test('fills the queue, refills it when segments are taken, and empties it at the end', async () => {
    const repository = await aRepository()
    await archive(repository, ...[1, 2, 3, 4, 5, 6, 7, 8].map((number) => at(number)))
    const background = new Background([repository])
    await sleep(20)
    expect(inSpool()).toEqual([])
    ask(at(1))
    await until('the first three', () => inSpool().join() === [at(2), at(3), at(4)].join())
    take(at(2))
    await until('the next', () => inSpool().join() === [at(3), at(4), at(5)].join())
    take(at(3))
    take(at(4))
    await until('two more', () => inSpool().join() === [at(5), at(6), at(7)].join())
    background.reason = 'enough'
    expect(await background.ended).toEqual({ reason: 'enough', segments: 6, bytes: 6 * SIZE })
    expect(inSpool()).toEqual([])
  })

  test('finds segments that were archived after it had reached the end of the archive', async () => {
    const repository = await aRepository()
    await archive(repository, at(1), at(2))
    await using _background = new Background([repository])
    ask(at(1))
    await until('the last', () => inSpool().join() === at(2))
    await archive(repository, at(3), at(4))
    take(at(2))
    await until('the new ones', () => inSpool().join() === [at(3), at(4)].join())
  })

  test('fetches from another timeline when replay requests it', async () => {
    const repository = await aRepository()
    await archive(repository, at(2), at(3), at(2, 2), at(3, 2), at(4, 2))
    await using _background = new Background([repository])
    ask(at(1))
    await until('the old timeline', () => inSpool().join() === [at(2), at(3)].join())
    ask(at(2, 2))
    await until('the new timeline', () => inSpool().join() === [at(3, 2), at(4, 2)].join())
  })

  test('fetches nothing while replay reads backwards', async () => {
    const repository = await aRepository()
    await archive(repository, ...[1, 2, 3, 4, 5].map((number) => at(number)))
    await using _background = new Background([repository], 0)
    ask(at(3))
    await until('the last two', () => inSpool().join() === [at(4), at(5)].join())
    ask(at(2))
    await until('what is out of reach to go', () => inSpool().join() === at(4))
    ask(at(1))
    await until('nothing to be left', () => inSpool().length === 0)
    await sleep(50)
    expect(inSpool()).toEqual([])
    ask(at(3))
    await until('forward again', () => inSpool().join() === [at(4), at(5)].join())
  })

  test('removes a segment that replay moved away from while it was being fetched', async () => {
    const repository = await aRepository()
    await archive(repository, ...[1, 2, 3, 4, 5].map((number) => at(number)))
    let release = (): void => undefined
    const released = new Promise<void>((resolve) => (release = resolve))
    const hold = (segment: WalSegment) => (segment === at(5) ? released : Promise.resolve())
    await using _background = new Background([repository], 0, hold)
    ask(at(3))
    await until('the last two', () => inSpool().join() === [at(4), at(5)].join())
    ask(at(2))
    await sleep(100)
    release()
    await until('what is out of reach to be removed', () => inSpool().join() === at(4))
  })

  test('fetches the copy of the next repository when one is corrupt, and keeps no corrupt copy', async () => {
    const [first, second] = [await aRepository(1), await aRepository(2)]
    await archive(first, at(2), at(3), at(4))
    await archive(second, at(2), at(4))
    for (const number of [2, 3]) {
      const path = stored(first, at(number))
      const bytes = readFileSync(path)
      bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 0xff, bytes.length >> 1)
      chmodSync(path, 0o640)
      writeFileSync(path, bytes)
    }
    await using _background = new Background([first, second])
    ask(at(1))
    await until('what is whole', () => inSpool().join() === [at(2), at(4)].join())
    take(at(2))
    expect(log.lines.filter((line) => line.startsWith('warn: repo1: ['))).toHaveLength(2)
  })

  test('fetches no segment of another cluster, and none that is archived with two contents', async () => {
    const [first, second] = [await aRepository(1), await aRepository(2)]
    contents.set(at(2), aSegment({ systemId: 42n }))
    await archive(first, at(2))
    await archive(first, at(3))
    contents.set(at(3), aSegment())
    await archive(second, at(3), at(4))
    await using _background = new Background([first, second])
    ask(at(1))
    await until('the good one', () => inSpool().join() === at(4))
    await sleep(50)
    expect(inSpool()).toEqual([at(4)])
    expect(log.lines.join()).toContain('system identifier 42')
    contents.clear()
  })

  test('skips a repository that fails, logs the failure once, and uses the repository again later', async () => {
    const [first, second] = [await aRepository(1), await aRepository(2)]
    await archive(second, at(2), at(3), at(4))
    rmSync(first.path, { recursive: true })
    await using _background = new Background([first, second])
    ask(at(1))
    await until('all of the second', () => inSpool().length === 3)
    expect(log.lines.filter((line) => line.startsWith('warn: repo1: [055]'))).toHaveLength(1)
  })

  test('ends when another program uses the spool, and keeps the files of that program', async () => {
    const repository = await aRepository()
    await archive(repository, at(2), at(3))
    const background = new Background([repository])
    ask(at(1))
    await until('the queue', () => inSpool().length === 2)
    writeFileSync(join(spool.in, `${at(9)}.pgbackrest.tmp`), 'theirs')
    expect(await background.ended).toMatchObject({ reason: expect.stringContaining('another program') as string })
    expect(inSpool()).toEqual([`${at(9)}.pgbackrest.tmp`])
  })

  test('ends when the spool is removed', async () => {
    const background = new Background([await aRepository()])
    rmSync(spool.root, { recursive: true })
    expect(await background.ended).toMatchObject({ reason: expect.stringContaining('spool') as string })
  })
})

describe('getThroughSpool', () => {
  const destination = () => join(dir, 'RECOVERYXLOG')
  const owner = (pgPath = '/pg') => ({ systemId: aSystemId, pgPath, bootId: 'this' })
  let launched = 0
  beforeEach(() => (launched = 0))

  function get(repositories: readonly TestRepository[], segment: WalSegment, more: Partial<SpooledGetRequest> = {}) {
    return getThroughSpool({
      stanza: 'main',
      file: segment,
      destination: destination(),
      identity,
      segmentSize: SIZE,
      repositories,
      spool,
      ownerDirectory: ownerDirectoryOf(spool, owner()),
      launch: async () => void launched++,
      clock: systemClock,
      log,
      signal: stop.signal,
      ...more,
    })
  }

  let stranger: ChildProcess | undefined
  afterEach(() => stranger?.kill())
  /** A process lives that calls itself so and works for this owner. */
  function alive(whose = owner(), name = 'archive-get:async'): void {
    makeOwnerDirectory(spool, ownerDirectoryOf(spool, whose))
    stranger = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000)', name], { stdio: 'ignore' })
    writeFileSync(join(spool.own, 'get.pid'), `${stranger.pid}\n`)
  }

  test('takes a prefetched segment and reports the position of replay', async () => {
    const repository = await aRepository()
    alive()
    contents.set(at(1), aSegment())
    writeFileSync(join(spool.in, at(1)), contents.get(at(1))!)
    expect(await get([repository], at(1))).toEqual({ found: true, file: at(1), prefetched: true })
    expect(readFileSync(destination()).equals(contents.get(at(1))!)).toBe(true)
    expect(inSpool()).toEqual([])
    expect(readRequest(spool)?.segment).toBe(at(1))
    expect(launched).toBe(0)
  })

  test('waits for a segment that is being fetched', async () => {
    const repository = await aRepository()
    alive()
    const content = aSegment()
    const fetching = join(spool.in, `${at(1)}.pgbackrest.tmp`)
    writeFileSync(fetching, content)
    const answer = get([repository], at(1))
    await sleep(30)
    writeFileSync(join(spool.in, at(1)), content)
    rmSync(fetching)
    expect(await answer).toMatchObject({ prefetched: true })
  })

  test('fetches a segment itself when the background process makes no progress', async () => {
    const repository = await aRepository()
    await archive(repository, at(1))
    alive()
    writeFileSync(join(spool.in, `${at(1)}.pgbackrest.tmp`), 'half')
    let nowMs = 0
    const clock = { nowMs: () => nowMs, sleep: async (ms: number) => void (nowMs += ms) }
    expect(await get([repository], at(1), { clock })).toMatchObject({ found: true, repoKey: 1 })
    expect(launched).toBe(0)
  })

  test('searches the repositories for a segment that is not in the spool', async () => {
    const repository = await aRepository()
    alive()
    writeFileSync(join(spool.in, `${at(1)}.ok`), '')
    expect(await get([repository], at(1))).toMatchObject({ found: false })
    expect(readRequest(spool)).toBeUndefined()
    await archive(repository, at(1))
    expect(await get([repository], at(1))).toMatchObject({ found: true, repoKey: 1 })
    expect(readRequest(spool)?.segment).toBe(at(1))
  })

  test('ignores the spool without a background process, and starts one when a segment was found', async () => {
    const repository = await aRepository()
    writeFileSync(join(spool.in, at(1)), aSegment())
    makeOwnerDirectory(spool, ownerDirectoryOf(spool, owner()))
    expect(await get([repository], at(1))).toMatchObject({ found: false })
    expect(launched).toBe(0)
    await archive(repository, at(1))
    writeFileSync(join(spool.in, at(1)), aSegment())
    expect(await get([repository], at(1))).toMatchObject({ found: true, repoKey: 1 })
    expect(readFileSync(destination()).equals(contents.get(at(1))!)).toBe(true)
    expect(launched).toBe(1)
  })

  test('does not take another process with the recorded process id for the background process', async () => {
    const repository = await aRepository()
    await archive(repository, at(1))
    alive(owner(), 'something else')
    writeFileSync(join(spool.in, at(1)), aSegment())
    expect(await get([repository], at(1))).toMatchObject({ found: true, repoKey: 1 })
    expect(launched).toBe(1)
  })

  test('ignores segments that were fetched for another cluster', async () => {
    const repository = await aRepository()
    alive(owner('/another'))
    writeFileSync(join(spool.in, at(1)), aSegment())
    expect(await get([repository], at(1))).toMatchObject({ found: false })
    expect(inSpool()).toEqual([at(1)])
  })

  test.each([
    ['of another cluster', () => aSegment({ systemId: 42n })],
    ['of another size', () => aSegment().subarray(0, SIZE / 2)],
  ])('does not use a segment %s from the spool', async (_what, content) => {
    const repository = await aRepository()
    await archive(repository, at(1))
    alive()
    writeFileSync(join(spool.in, at(1)), content())
    expect(await get([repository], at(1))).toMatchObject({ found: true, repoKey: 1 })
    expect(readFileSync(destination()).equals(contents.get(at(1))!)).toBe(true)
    expect(log.lines.join()).toContain('is not a segment of this cluster')
  })

  test('fetches the segment when the spool cannot be written and no process can be started', async () => {
    const repository = await aRepository()
    await archive(repository, at(1))
    rmSync(spool.own, { recursive: true })
    const launch = () => Promise.reject(new Error('no more processes'))
    expect(await get([repository], at(1), { launch })).toMatchObject({ found: true })
    expect(log.lines.join()).toContain('warn: WAL is not fetched ahead: no more processes')
  })

  test('returns the whole segment to each of several simultaneous calls', async () => {
    const repository = await aRepository()
    await archive(repository, at(1))
    alive()
    writeFileSync(join(spool.in, at(1)), contents.get(at(1))!)
    const places = ['a', 'b', 'c'].map((name) => join(dir, name))
    const reports = await Promise.all(places.map((place) => get([repository], at(1), { destination: place })))
    expect(reports.filter((report) => 'prefetched' in report)).toHaveLength(1)
    for (const place of places) expect(readFileSync(place).equals(contents.get(at(1))!)).toBe(true)
  })
})

describe('owner directory', () => {
  const one = { systemId: 1n, pgPath: '/one', bootId: 'b' }

  test('is removed when another owner takes the spool, and created again for the first owner', () => {
    const others = [
      { ...one, systemId: 2n },
      { ...one, pgPath: '/two' },
      { ...one, bootId: 'c' },
    ]
    for (const other of others) {
      makeOwnerDirectory(spool, ownerDirectoryOf(spool, one))
      makeOwnerDirectory(spool, ownerDirectoryOf(spool, one))
      writeFileSync(join(spool.in, 'x'), '')
      expect(existsSync(join(ownerDirectoryOf(spool, one), 'in', 'x'))).toBe(true)
      makeOwnerDirectory(spool, ownerDirectoryOf(spool, other))
      expect(isOwnerDirectory(ownerDirectoryOf(spool, one))).toBe(false)
      expect(isOwnerDirectory(ownerDirectoryOf(spool, other))).toBe(true)
      expect(existsSync(join(spool.in, 'x'))).toBe(true)
    }
  })

  test('emptyDirectory removes files and directories of any name', () => {
    for (const name of [at(1), `${at(2)}.pgbackrest.tmp`, `${at(3)}.ok`, 'global.error'])
      writeFileSync(join(spool.in, name), '')
    mkdirSync(join(spool.in, 'a directory'))
    emptyDirectory(spool.in)
    expect(inSpool()).toEqual([])
  })
})
