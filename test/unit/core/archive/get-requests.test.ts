import { spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { moveOnRequest, requestsIn, UNHEARD } from '../../../../src/core/archive/get/get-requests.ts'
import { prepareSpool, spoolPaths, type SpoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import { renameNew } from '../../../../src/util/rename-new.ts'
import { textToBytes } from '../../../../src/util/byte-string.ts'
import { recordingLog } from '../../../support/builders/wal.ts'

const SEGMENT = '00000001000000000000002A'
const OTHER = '00000001000000000000002B'

let dir = ''
let spool: SpoolPaths
let target = ''
let log = recordingLog()
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-move-'))
  spool = spoolPaths(join(dir, 'spool'), 'main')
  prepareSpool(spool)
  target = join(dir, 'RECOVERYXLOG')
  log = recordingLog()
  for (const name of [SEGMENT, OTHER]) writeFileSync(join(spool.in, name), name)
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const begin = (isOurs = (_segment: string) => true) => moveOnRequest({ spool, target, isOurs, log })
const requests = () => readdirSync(requestsIn(spool))
const ask = (segment: string, pid: number | string = process.pid) =>
  writeFileSync(join(requestsIn(spool), `${segment}.${pid}`), '')

/** Once what was left after it is heard, it has been heard itself. */
async function heard(): Promise<void> {
  writeFileSync(join(requestsIn(spool), UNHEARD), '')
  await until('an empty directory', () => requests().length === 0)
}

async function until(what: string, test: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(2)) if (test()) return
  throw new Error(`timeout: ${what}: ${requests().join()} ${log.lines.join('\n')}`)
}

test('moves a requested segment to the target', async () => {
  using _movers = begin()
  const { ino } = statSync(join(spool.in, SEGMENT))
  ask(SEGMENT)
  await until('the segment', () => existsSync(target))
  expect(statSync(target).ino).toBe(ino)
  expect(readdirSync(spool.in)).toEqual([OTHER])
  await until('the end of the request', () => requests().length === 0)
})

test('replaces nothing at the target', async () => {
  using _movers = begin()
  for (const put of [
    () => writeFileSync(target, 'something'),
    () => symlinkSync('nowhere', target),
    () => mkdirSync(target),
  ]) {
    put()
    const before = lstatSync(target)
    ask(SEGMENT)
    await heard()
    expect(lstatSync(target).ino).toBe(before.ino)
    expect(readFileSync(join(spool.in, SEGMENT), 'utf8')).toBe(SEGMENT)
    rmSync(target, { recursive: true })
  }
})

test.each([
  ['a dead process', SEGMENT, () => spawnSync('true').pid],
  ['a segment that another program fetched', SEGMENT, () => process.pid],
  ['an incomplete segment', `${SEGMENT}.pgbackrest.tmp`, () => process.pid],
  ['another directory', `..${SEGMENT}`, () => process.pid],
  ['process id 0', SEGMENT, () => '0'],
  ['a process group', SEGMENT, () => '-1'],
  ['a segment without a name', '', () => 1],
])('moves nothing when the request is for %s', async (what, name, pid) => {
  using _movers = begin((segment) => what !== 'a segment that another program fetched' || segment !== SEGMENT)
  writeFileSync(join(spool.in, `${SEGMENT}.pgbackrest.tmp`), '')
  ask(name, pid())
  await heard()
  expect(existsSync(target)).toBe(false)
  expect(readdirSync(spool.in).sort()).toEqual([SEGMENT, `${SEGMENT}.pgbackrest.tmp`, OTHER])
  // Later requests are carried out.
  ask(OTHER)
  await until('the segment', () => existsSync(target))
  expect(readFileSync(target, 'utf8')).toBe(OTHER)
})

test('ignores requests to an earlier process and requests that were abandoned', async () => {
  mkdirSync(requestsIn(spool))
  ask(SEGMENT)
  ask(UNHEARD)
  using _movers = begin()
  expect(requests()).toEqual([])
  await heard()
  expect(existsSync(target)).toBe(false)
})

test('removes the directory of requests at its end', async () => {
  const movers = begin()
  expect(statSync(requestsIn(spool)).mode & 0o777).toBe(0o700)
  ask('x')
  movers[Symbol.dispose]()
  expect(existsSync(requestsIn(spool))).toBe(false)
})

test.each([
  ['a file', (path: string) => writeFileSync(path, 'x')],
  ['a link to another directory', (path: string) => symlinkSync(dir, path)],
  ['a FIFO', (path: string) => void spawnSync('mkfifo', [path])],
])('removes %s at the path of the directory of requests', async (_, put) => {
  put(requestsIn(spool))
  using _movers = begin()
  expect(lstatSync(requestsIn(spool)).isDirectory()).toBe(true)
  expect(existsSync(dir)).toBe(true)
  ask(SEGMENT)
  await until('the segment', () => existsSync(target))
})

test('has no directory of requests when moving is impossible', async () => {
  target = join(dir, 'no such directory', 'RECOVERYXLOG')
  using _first = begin()
  expect(existsSync(requestsIn(spool))).toBe(false)

  // On the same device, but the rename fails.
  writeFileSync(join(dir, 'file'), '')
  target = join(dir, 'file', 'RECOVERYXLOG')
  using _second = begin()
  ask(SEGMENT)
  await until('the end of it', () => !existsSync(requestsIn(spool)))
  expect(log.lines.join('\n')).toContain('ENOTDIR')
  expect(readFileSync(join(spool.in, SEGMENT), 'utf8')).toBe(SEGMENT)
})

const SHM = '/dev/shm'
const hasOther = existsSync(SHM) && statSync(SHM).dev !== statSync(tmpdir()).dev
test.skipIf(!hasOther)('has no directory of requests when the target is on another file system', () => {
  const elsewhere = mkdtempSync(join(SHM, 'pgts-move-'))
  try {
    target = join(elsewhere, 'RECOVERYXLOG')
    using _movers = begin()
    expect(existsSync(requestsIn(spool))).toBe(false)
    expect(() => renameNew(join(spool.in, SEGMENT), target)).toThrow(expect.objectContaining({ code: 'EXDEV' }))
  } finally {
    rmSync(elsewhere, { recursive: true })
  }
})

test('renameNew accepts any name and never replaces a file', () => {
  const name = textToBytes(join(dir, 'ü'))
  renameNew(join(spool.in, SEGMENT), name)
  expect(readFileSync(join(dir, 'ü'), 'utf8')).toBe(SEGMENT)
  expect(() => renameNew(join(spool.in, OTHER), name)).toThrow(expect.objectContaining({ code: 'EEXIST' }))
  expect(() => renameNew(join(spool.in, SEGMENT), target)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  expect(readFileSync(join(dir, 'ü'), 'utf8')).toBe(SEGMENT)
})
