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
  throw new Error(`waited in vain for ${what}: ${requests().join()} ${log.lines.join('\n')}`)
}

test('what is asked for lies at the target, as the same file', async () => {
  using _movers = begin()
  const { ino } = statSync(join(spool.in, SEGMENT))
  ask(SEGMENT)
  await until('the segment', () => existsSync(target))
  expect(statSync(target).ino).toBe(ino)
  expect(readdirSync(spool.in)).toEqual([OTHER])
  await until('the end of the request', () => requests().length === 0)
})

test('nothing that lies at the target is replaced', async () => {
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
  ['nobody who lives', SEGMENT, () => spawnSync('true').pid],
  ['a segment that another program fetched', SEGMENT, () => process.pid],
  ['a part of one', `${SEGMENT}.pgbackrest.tmp`, () => process.pid],
  ['another directory', `..${SEGMENT}`, () => process.pid],
  ['a process that there cannot be', SEGMENT, () => '0'],
  ['processes', SEGMENT, () => '-1'],
  ['the first process of a segment without a name', '', () => 1],
])('nothing is moved for %s', async (what, name, pid) => {
  using _movers = begin((segment) => what !== 'a segment that another program fetched' || segment !== SEGMENT)
  writeFileSync(join(spool.in, `${SEGMENT}.pgbackrest.tmp`), '')
  ask(name, pid())
  await heard()
  expect(existsSync(target)).toBe(false)
  expect(readdirSync(spool.in).sort()).toEqual([SEGMENT, `${SEGMENT}.pgbackrest.tmp`, OTHER])
  // And it goes on.
  ask(OTHER)
  await until('the segment', () => existsSync(target))
  expect(readFileSync(target, 'utf8')).toBe(OTHER)
})

test('what was asked of another process, or has been waited for in vain, is not done any more', async () => {
  mkdirSync(requestsIn(spool))
  ask(SEGMENT)
  ask(UNHEARD)
  using _movers = begin()
  expect(requests()).toEqual([])
  await heard()
  expect(existsSync(target)).toBe(false)
})

test('nobody is asked to ask once it has ended', async () => {
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
])('%s in the place of the requests is removed', async (_, put) => {
  put(requestsIn(spool))
  using _movers = begin()
  expect(lstatSync(requestsIn(spool)).isDirectory()).toBe(true)
  expect(existsSync(dir)).toBe(true)
  ask(SEGMENT)
  await until('the segment', () => existsSync(target))
})

test('nobody is asked to ask where it cannot be done', async () => {
  target = join(dir, 'no such directory', 'RECOVERYXLOG')
  using _first = begin()
  expect(existsSync(requestsIn(spool))).toBe(false)

  // On the same device, and yet it fails.
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
test.skipIf(!hasOther)('nobody is asked to ask when the target is on another file system', () => {
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

test('a rename to a new name takes any name, and no other file', () => {
  const name = textToBytes(join(dir, 'ü'))
  renameNew(join(spool.in, SEGMENT), name)
  expect(readFileSync(join(dir, 'ü'), 'utf8')).toBe(SEGMENT)
  expect(() => renameNew(join(spool.in, OTHER), name)).toThrow(expect.objectContaining({ code: 'EEXIST' }))
  expect(() => renameNew(join(spool.in, SEGMENT), target)).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  expect(readFileSync(join(dir, 'ü'), 'utf8')).toBe(SEGMENT)
})
