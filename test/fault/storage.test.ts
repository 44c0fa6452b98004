import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { StorageDriver } from '../../src/storage/driver.ts'
import { memoryStorage } from '../../src/storage/memory.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { getFile, putFile } from '../../src/storage/whole-file.ts'
import { PgtsError } from '../../src/util/error.ts'
import { Crash, crashing, failing } from '../support/faults/faulty-driver.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pgts-fault-'))
afterAll(() => rmSync(scratch, { recursive: true }))
let roots = 0

const drivers: [string, () => () => StorageDriver][] = [
  [
    'memory',
    () => {
      const { id } = memoryStorage()
      return () => memoryStorage(id)
    },
  ],
  [
    'posix',
    () => {
      const root = join(scratch, `repo-${++roots}`)
      return () => posixStorage(root)
    },
  ],
]

/** Write two files in two chunks each, the second one under a name that exists. */
async function writeTwoFiles(storage: StorageDriver): Promise<void> {
  for (const name of ['dir/new', 'info']) {
    await using file = await storage.create(name)
    await file.sink.write(Buffer.from('first '))
    await file.sink.write(Buffer.from('second'))
    await file.commit()
  }
  await storage.remove('dir/old')
}

async function countSteps(): Promise<number> {
  const counted = crashing(memoryStorage())
  await writeTwoFiles(counted)
  return counted.steps.length
}

const steps = Array.from({ length: await countSteps() }, (_, at) => ({ at }))

describe.each(drivers)('a crash of the driver %s', (_name, make) => {
  test.each(steps)('at step $at leaves complete files, and the writes can be repeated', async ({ at }) => {
    const open = make()
    await putFile(open(), 'info', Buffer.from('old'))
    await putFile(open(), 'dir/old', Buffer.from('x'))
    const crashed = crashing(open(), at)
    await expect(writeTwoFiles(crashed)).rejects.toBeInstanceOf(Crash)
    expect(crashed.reached).toBe(true)
    await expect(crashed.stat('info')).rejects.toBeInstanceOf(Crash)

    const text = async (name: string) =>
      (await open().stat(name)) === undefined ? undefined : String(await getFile(open(), name))
    expect([undefined, 'first second']).toContain(await text('dir/new'))
    expect(['old', 'first second']).toContain(await text('info'))
    if ((await text('info')) === 'first second') expect(await text('dir/new')).toBe('first second')
    await writeTwoFiles(open())
    expect([await text('dir/new'), await text('info'), await text('dir/old')]).toEqual([
      'first second',
      'first second',
      undefined,
    ])
  })

  test('a failed write is discarded, and the next one succeeds', async () => {
    const open = make()
    await putFile(open(), 'info', Buffer.from('old'))
    const error = new PgtsError('file-write', 'no space left on device')
    const storage = failing(open(), { at: 3, error, only: 'write' })
    await expect(writeTwoFiles(storage)).rejects.toBe(error)
    expect(storage.reached).toBe(true)
    expect(String(await getFile(storage, 'info'))).toBe('old')
    const names: string[] = []
    for await (const { name } of storage.list('', { recursive: true })) names.push(name)
    expect(names.sort()).toEqual(['dir/new', 'info'])
    await writeTwoFiles(storage)
  })
})
