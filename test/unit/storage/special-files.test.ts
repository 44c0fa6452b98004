import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fileOutput } from '../../../src/cli/log-output.ts'
import { prepareSpool, readSpoolOutcome, spoolPaths } from '../../../src/core/archive/spool/spool-files.ts'
import { memoryStorage } from '../../../src/storage/memory.ts'
import { posixStorage } from '../../../src/storage/posix.ts'
import { getFile, putFile } from '../../../src/storage/whole-file.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'pgts-special-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const pipe = (path: string) => void expect(spawnSync('mkfifo', [path]).status).toBe(0)

test.each([
  ['a named pipe', pipe],
  ['a link to a device without end', (path: string) => symlinkSync('/dev/zero', path)],
])('%s in a repository is an error with a code, not waited for', async (_, plant) => {
  plant(join(root, 'backup.info'))
  const storage = posixStorage(root)
  await expect(getFile(storage, 'backup.info')).rejects.toMatchObject({
    code: 'file-invalid',
    message: `cannot read ${root}/backup.info: it is not a regular file`,
  })
})

test('a link to a file in a repository is followed', async () => {
  writeFileSync(join(root, 'elsewhere'), 'content')
  symlinkSync(join(root, 'elsewhere'), join(root, 'file'))
  expect(String(await getFile(posixStorage(root), 'file'))).toBe('content')
})

test('an info file above the size limit is an error with a code', async () => {
  const storage = memoryStorage()
  await putFile(storage, 'backup.info', Buffer.alloc(1001))
  expect(await getFile(storage, 'backup.info', {}, 1001)).toHaveLength(1001)
  await expect(getFile(storage, 'backup.info', {}, 1000)).rejects.toMatchObject({
    code: 'file-invalid',
    message: expect.stringContaining('it is larger than 1000 bytes') as string,
  })
})

test('an unreferenced file is not written through a planted link or pipe', async () => {
  const storage = posixStorage(root)
  symlinkSync(join(root, 'victim'), join(root, 'link'))
  pipe(join(root, 'pipe'))
  for (const name of ['link', 'pipe']) {
    await expect(storage.create(name, { unreferenced: true })).rejects.toMatchObject({ code: 'file-open' })
  }
  expect(existsSync(join(root, 'victim'))).toBe(false)
})

test('a pipe, a link and an endless file in the spool are ignored', () => {
  const spool = spoolPaths(root, 'main')
  prepareSpool(spool)
  const name = '000000010000000000000001'
  const ok = join(spool.out, `${name}.ok`)
  writeFileSync(join(root, 'empty'), '')
  for (const plant of [() => pipe(ok), () => symlinkSync(join(root, 'empty'), ok), () => mkdirSync(ok)]) {
    plant()
    expect(readSpoolOutcome(spool.out, name)).toEqual({ kind: 'none' })
    rmSync(ok, { recursive: true })
  }
  writeFileSync(ok, Buffer.alloc(2 * 1024 * 1024))
  expect(readSpoolOutcome(spool.out, name)).toEqual({ kind: 'none' })
})

test('a log file that is a pipe without reader is an error, a link to a file is followed', () => {
  pipe(join(root, 'pipe.log'))
  expect(() => fileOutput(join(root, 'pipe.log')).write('x')).toThrow('ENXIO')
  symlinkSync(join(root, 'real.log'), join(root, 'link.log'))
  const log = fileOutput(join(root, 'link.log'))
  log.write('line\n')
  log.close()
  expect(readFileSync(join(root, 'real.log'), 'utf8')).toContain('line')
})
