import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { acquireLocks } from '../../../src/util/lock.ts'
import { joinWriters, waitForWriters } from '../../../src/util/lock-writers.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pgts-writers-'))
afterAll(() => rmSync(scratch, { recursive: true, force: true }))

let paths = 0
const newLockPath = () => join(scratch, String(++paths))

const backupLock = (lockPath: string) =>
  acquireLocks({ lockPath, stanza: 'main', types: ['backup'], repoKeys: [1], execId: '1-00000000' })

test('the backup lock is taken after the last writer of an ended command has left', async () => {
  const lockPath = newLockPath()
  const writers = [await joinWriters(lockPath, 'main', 1), await joinWriters(lockPath, 'main', 1)]
  const events: string[] = []
  const waiting = backupLock(lockPath).then((locks) => {
    events.push('locked')
    return locks
  })
  for (const writer of writers) {
    await new Promise(setImmediate)
    events.push('left')
    writer[Symbol.dispose]()
  }
  await using _ = await waiting
  expect(events).toEqual(['left', 'left', 'locked'])
  expect(readdirSync(lockPath).filter((name) => name.endsWith('.writers'))).toEqual([])
})

test('writers of another stanza or repository do not matter', async () => {
  const lockPath = newLockPath()
  using _other = await joinWriters(lockPath, 'other', 1)
  using _second = await joinWriters(lockPath, 'main', 2)
  await waitForWriters(lockPath, 'main', 1)
  await using _ = await backupLock(lockPath)
  expect(existsSync(join(lockPath, 'main-backup-1.lock'))).toBe(true)
})
