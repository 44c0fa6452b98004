import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { localFiles } from '../../../src/postgres/local-files.ts'
import { openClusterFiles } from '../../../src/postgres/registry.ts'
import { testUser } from '../../support/processes/test-user.ts'
import { localOwnerNames } from '../../../src/util/owner-names.ts'
import { readAll } from '../../../src/util/bytes.ts'

let dir: string
const files = localFiles()
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-local-'))
  chmodSync(dir, 0o755)
})
afterEach(() => rmSync(dir, { recursive: true }))

const root = process.getuid!() === 0

test('an entry has the values of lstat', async () => {
  writeFileSync(join(dir, 'f'), 'abc')
  chmodSync(join(dir, 'f'), 0o4640)
  utimesSync(join(dir, 'f'), 1_700_000_000.9, 1_700_000_000.9)
  symlinkSync('f', join(dir, 'l'))
  execFileSync('mkfifo', [join(dir, 'p')])
  const owner = {
    user: execFileSync('id', ['-un'], { encoding: 'utf8' }).trim(),
    group: execFileSync('id', ['-gn'], { encoding: 'utf8' }).trim(),
  }
  const entries = [...(await files.list(dir))!]
  expect(entries).toEqual([
    { name: 'f', kind: 'file', sizeBytes: 3, mtime: 1_700_000_000, mode: 0o640, ...owner },
    expect.objectContaining({ name: 'l', kind: 'link', destination: 'f', destinationKind: 'file', sizeBytes: 0 }),
    expect.objectContaining({ name: 'p', kind: 'special' }),
  ])
  expect(await files.stat(join(dir, 'l'), { follow: true })).toMatchObject({ kind: 'file', sizeBytes: 3 })
  expect(await files.stat(join(dir, 'l'))).toMatchObject({ kind: 'link' })
  expect(await files.stat(join(dir, 'nothing'))).toBeUndefined()
  expect(await files.list(join(dir, 'nothing'))).toBeUndefined()
})

test('the mtime in seconds is rounded down, also in the last nanoseconds', async () => {
  writeFileSync(join(dir, 'f'), '')
  execFileSync('touch', ['-d', '@1700000000.999999999', join(dir, 'f')])
  expect(await files.stat(join(dir, 'f'))).toMatchObject({ mtime: 1_700_000_000 })
  execFileSync('touch', ['-d', '@1700000000', join(dir, 'f')])
  expect(await files.stat(join(dir, 'f'))).toMatchObject({ mtime: 1_700_000_000 })
})

test('names are bytes', async () => {
  writeFileSync(Buffer.from(join(dir, '\xff\xe4'), 'latin1'), 'x')
  const [entry] = (await files.list(dir))!
  expect(entry!.name).toBe('\xff\xe4')
  expect((await readAll((await files.open(`${dir}/${entry!.name}`, { buffer: Buffer.alloc(10) }))!)).toString()).toBe(
    'x',
  )
})

test('reading a file returns full buffers up to its limit', async () => {
  writeFileSync(join(dir, 'f'), 'abcdefghij')
  const chunks = async (bufferBytes: number, maxBytes?: number) => {
    await using source = (await files.open(join(dir, 'f'), {
      buffer: Buffer.alloc(bufferBytes),
      maxBytes,
    }))!
    const found: string[] = []
    for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next())
      found.push(Buffer.from(chunk).toString())
    return found
  }
  expect(await chunks(4)).toEqual(['abcd', 'efgh', 'ij'])
  expect(await chunks(5)).toEqual(['abcde', 'fghij'])
  expect(await chunks(4, 6)).toEqual(['abcd', 'ef'])
  expect(await chunks(4, 0)).toEqual([])
  expect(await chunks(4, 99)).toEqual(['abcd', 'efgh', 'ij'])
})

test('reading a file continues when it grows, shrinks or is removed', async () => {
  const path = join(dir, 'f')
  writeFileSync(path, 'abcd')
  const buffer = Buffer.alloc(4)
  {
    await using source = (await files.open(path, { buffer }))!
    await source.next()
    appendFileSync(path, 'EF')
    expect(Buffer.from((await source.next())!).toString()).toBe('EF')
    expect(await source.next()).toBeUndefined()
  }
  await using limited = (await files.open(path, { buffer, maxBytes: 5 }))!
  await limited.next()
  truncateSync(path, 2)
  expect(await limited.next()).toBeUndefined()
  expect((await limited.reread(1, 4)).toString()).toBe('b')
  unlinkSync(path)
  expect((await limited.reread(0, 2)).toString()).toBe('ab')
  expect(await files.open(path, { buffer })).toBeUndefined()
})

test('rereading does not change the position of the next read', async () => {
  writeFileSync(join(dir, 'f'), 'abcdefgh')
  await using source = (await files.open(join(dir, 'f'), { buffer: Buffer.alloc(4) }))!
  const first = Buffer.from((await source.next())!)
  expect((await source.reread(2, 4)).toString()).toBe('cdef')
  expect(first.toString() + Buffer.from((await source.next())!).toString()).toBe('abcdefgh')
  await source[Symbol.asyncDispose]()
})

test('a file without read permission is refused with a hint', async () => {
  writeFileSync(join(dir, 'f'), 'x')
  chmodSync(join(dir, 'f'), 0)
  // Root may read everything, so the test switches to another user.
  if (root) process.seteuid!(testUser.uid)
  try {
    await expect(files.open(join(dir, 'f'), { buffer: Buffer.alloc(1) })).rejects.toMatchObject({
      code: 'file-open',
      message: expect.stringContaining('permission denied') as string,
      hints: [expect.stringContaining('postgres')],
    })
  } finally {
    if (root) process.seteuid!(0)
  }
})

test('reading a directory is reported as such', async () => {
  const source = await files.open(dir, { buffer: Buffer.alloc(1) })
  expect(() => source!.next()).toThrow(expect.objectContaining({ code: 'file-read' }))
  await source![Symbol.asyncDispose]()
})

test.runIf(root)('an id without a name returns none', async () => {
  writeFileSync(join(dir, 'f'), 'x')
  chownSync(join(dir, 'f'), 54321, 54322)
  expect(await files.stat(join(dir, 'f'))).toMatchObject({ user: false, group: false })
})

test('owner names are those of the system', () => {
  const names = localOwnerNames()
  expect(names.user(0)).toBe('root')
  expect(names.group(0)).toBe('root')
  expect(names.user(4_000_000_000)).toBe(false)
})

test('reading lets the event loop run if the thread has other work', async () => {
  writeFileSync(join(dir, 'f'), Buffer.alloc(2 * 1024 * 1024))
  await using shared = await openClusterFiles({ kind: 'local', yields: true, versionForce: '15' })
  expect(shared.versionForce).toBe('15')
  const source = (await shared.open(join(dir, 'f'), { buffer: Buffer.alloc(16) }))!
  let hasRun = false
  setImmediate(() => (hasRun = true))
  let bytes = 0
  for (let answer = source.next(); ; answer = source.next()) {
    const chunk = answer instanceof Promise ? await answer : answer
    if (chunk === undefined) break
    bytes += chunk.length
  }
  await source[Symbol.asyncDispose]()
  expect(bytes).toBe(2 * 1024 * 1024)
  expect(hasRun).toBe(true)
})
