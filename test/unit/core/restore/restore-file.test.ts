import {
  chmodSync,
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fs from 'node:fs'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { restoreBatch } from '../../../../src/core/restore/restore-file.ts'
import { type RestoreFileJob } from '../../../../src/core/restore/restore-job.ts'
import { type RestoreFile } from '../../../../src/core/restore/restore-job.ts'
import type { WorkerEnv } from '../../../../src/core/worker-env.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import { isPgtsError } from '../../../../src/util/error.ts'
import { sha1 } from '../../../support/builders/manifest.ts'
import { workerEnvWith, repositoryWith } from '../../../support/builders/repository.ts'

const CONTENT = 'The content of a file, as it was.'.repeat(100)
let dir: string
let path: string
let storage: MemoryStorage
let env: WorkerEnv

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-write-'))
  path = join(dir, 'file')
  storage = memoryStorage()
  await putFile(storage, 'plain', Buffer.from(CONTENT))
  await putFile(storage, 'packed.gz', gzipSync(CONTENT))
  await putFile(storage, 'bundle/1', Buffer.from(`before${CONTENT}after`))
  // Smaller than the file, so that reading the existing file takes several reads.
  env = workerEnvWith(repositoryWith(storage), 1000)
})
afterEach(() => rmSync(dir, { recursive: true }))

const chain = { repoKey: 1, stanza: 'demo', references: [], syncUnchanged: false }
const file = (more: Partial<RestoreFile> = {}): RestoreFile => ({
  name: 'pg_data/file',
  path,
  action: 'create',
  sizeBytes: CONTENT.length,
  checksum: sha1(CONTENT),
  timestamp: 1_700_000_000,
  mode: 0o640,
  stored: { repoName: 'plain' },
  ...more,
})
async function restoreOne(more: Partial<RestoreFile> = {}, job: Partial<RestoreFileJob> = {}): Promise<string> {
  const signal = new AbortController().signal
  const results = await restoreBatch(
    { files: [file(more)], compressType: 'none', bundleRaw: false, ...chain, ...job },
    env,
    signal,
  )
  return results[0]!.outcome
}
function expectRestored(): void {
  expect(readFileSync(path, 'latin1')).toBe(CONTENT)
  const stat = statSync(path)
  expect(stat.mode & 0o7777).toBe(0o640)
  expect(stat.mtimeMs).toBe(1_700_000_000_000)
}

describe('a file is restored with its content, time and mode', () => {
  test('when it is stored uncompressed', async () => {
    expect(await restoreOne()).toBe('restored')
    expectRestored()
  })
  test('when it is compressed', async () => {
    expect(await restoreOne({ stored: { repoName: 'packed.gz' } }, { compressType: 'gz' })).toBe('restored')
    expectRestored()
  })
  test('when it is in a bundle', async () => {
    const slice = { offset: 6, length: CONTENT.length }
    expect(await restoreOne({ stored: { repoName: 'bundle/1', slice } })).toBe('restored')
    expectRestored()
  })
  test('when it is empty, without reading the repository', async () => {
    const { stored: _, ...empty } = file({ sizeBytes: 0, checksum: sha1('') })
    const signal = new AbortController().signal
    const [result] = await restoreBatch(
      { files: [empty], compressType: 'none', bundleRaw: false, ...chain },
      env,
      signal,
    )
    expect(result?.outcome).toBe('empty')
    expect(statSync(path)).toMatchObject({ size: 0, mtimeMs: 1_700_000_000_000 })
  })
})

describe('check keeps a file with the right content and copies others', () => {
  test('equal content: only time and mode are corrected', async () => {
    writeFileSync(path, CONTENT)
    const before = statSync(path).ino
    expect(await restoreOne({ action: 'check' })).toBe('matches')
    expectRestored()
    expect(statSync(path).ino).toBe(before)
  })
  test('equal content followed by more bytes: truncated', async () => {
    writeFileSync(path, `${CONTENT}more`)
    expect(await restoreOne({ action: 'check' })).toBe('matches')
    expectRestored()
  })
  test.each([
    ['one flipped byte at the end', `${CONTENT.slice(0, -1)}!`],
    ['a differing first byte', `x${CONTENT.slice(1)}`],
    ['truncated after it was listed', CONTENT.slice(0, 10)],
  ])('%s', async (_, content) => {
    writeFileSync(path, content)
    expect(await restoreOne({ action: 'check' })).toBe('restored')
    expectRestored()
  })
  test('removed after it was listed', async () => {
    expect(await restoreOne({ action: 'check' })).toBe('restored')
    expectRestored()
  })
})

test('keep does not read the content, and corrects time and mode', async () => {
  writeFileSync(path, 'z'.repeat(CONTENT.length))
  chmodSync(path, 0o600)
  expect(await restoreOne({ action: 'keep' })).toBe('kept')
  expect(readFileSync(path, 'latin1')).toBe('z'.repeat(CONTENT.length))
  expect(statSync(path).mode & 0o7777).toBe(0o640)
})

describe('keep copies a file that cannot be kept', () => {
  test('removed after it was listed', async () => {
    expect(await restoreOne({ action: 'keep' })).toBe('restored')
    expectRestored()
  })
  test('truncated after it was listed', async () => {
    writeFileSync(path, CONTENT.slice(0, 10))
    expect(await restoreOne({ action: 'keep' })).toBe('restored')
    expectRestored()
  })
  test('not readable by the user of the restore', async () => {
    writeFileSync(path, CONTENT)
    chmodSync(path, 0)
    // Root can read it; its owner cannot.
    expect(await restoreOne({ action: 'keep' })).toBe(process.getuid?.() === 0 ? 'kept' : 'restored')
    expectRestored()
  })
})

describe('no file outside the target is written', () => {
  test.each(['create', 'check', 'rewrite', 'keep'] as const)(
    '%s replaces a symbolic link instead of following it',
    async (action) => {
      const victim = join(dir, 'victim')
      writeFileSync(victim, 'keep')
      symlinkSync(victim, path)
      expect(await restoreOne({ action })).toBe('restored')
      expectRestored()
      expect(readFileSync(victim, 'latin1')).toBe('keep')
    },
  )
  test.each([
    ['rewrite', 'other'],
    ['check', `${CONTENT}more`],
  ] as const)('%s leaves the other name of a hard link as it was', async (action, content) => {
    const other = join(dir, 'other')
    writeFileSync(other, content)
    linkSync(other, path)
    expect(await restoreOne({ action })).toBe('restored')
    expectRestored()
    expect(readFileSync(other, 'latin1')).toBe(content)
  })
})

describe('a damaged repository file is refused with both names', () => {
  test('with other content [026]', async () => {
    const error = await restoreOne({ checksum: sha1('other') }).catch((reason: unknown) => reason)
    expect(isPgtsError(error, 'checksum') && error.exitCode).toBe(26)
    const { message, hints } = error as Error & { hints: string[] }
    expect(message).toContain(path)
    expect(message).toContain('/plain')
    expect(message).toContain(sha1(CONTENT))
    expect(message).toContain(sha1('other'))
    expect(hints.join()).toMatch(/--set.*--repo/)
  })
  test('with more content than the manifest says, before it fills the disk', async () => {
    const error = await restoreOne({ sizeBytes: 10, checksum: sha1('x') }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'checksum' })
    expect((error as Error).message).toContain('more than 10 bytes')
    expect(statSync(path).size).toBeLessThanOrEqual(CONTENT.length)
  })
  test.each([
    ['more', CONTENT.length - 1, /more than \d+ bytes/],
    [
      'less',
      CONTENT.length + 1,
      new RegExp(`decodes to ${CONTENT.length} bytes .* expected by the manifest ${CONTENT.length + 1} bytes`),
    ],
  ])('with the right content, but %s than the manifest says [026]', async (_, sizeBytes, words) => {
    const error = await restoreOne({ sizeBytes }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'checksum' })
    expect((error as Error).message).toMatch(words)
  })
  test.each([
    ['missing', 'gone', 'none', 'file-missing'],
    ['not compressed', 'plain', 'gz', 'format'],
  ] as const)('%s', async (_, repoName, compressType, code) => {
    const error = await restoreOne({ stored: { repoName } }, { compressType }).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code })
    expect((error as Error).message).toContain(`'${path}' from`)
    expect((error as Error).message).toContain(repoName)
  })
  test('that is truncated', async () => {
    await putFile(storage, 'cut.gz', gzipSync(CONTENT).subarray(0, 30))
    const error = await restoreOne({ stored: { repoName: 'cut.gz' } }, { compressType: 'gz' }).catch(
      (reason: unknown) => reason,
    )
    expect(isPgtsError(error) && ['format', 'checksum'].includes(error.code)).toBe(true)
  })
})

test('an interrupted job stops between files', async () => {
  const controller = new AbortController()
  controller.abort(new Error('stop'))
  await expect(
    restoreBatch({ files: [file()], compressType: 'none', bundleRaw: false, ...chain }, env, controller.signal),
  ).rejects.toThrow('stop')
})

test('an error of a directory that cannot be written has its path', async () => {
  const error = await restoreOne({ path: join(dir, 'gone', 'file') }).catch((reason: unknown) => reason)
  expect(isPgtsError(error, 'file-write')).toBe(true)
  expect((error as Error).message).toContain(join(dir, 'gone', 'file'))
})

describe('a file that is already right is synced', () => {
  const synced = async (syncUnchanged: boolean, content = CONTENT, time = 1_700_000_000): Promise<number> => {
    writeFileSync(path, content)
    chmodSync(path, 0o640)
    utimesSync(path, time, time)
    const sync = vi.spyOn(fs, 'fsyncSync')
    try {
      expect(await restoreOne({ action: 'check' }, { syncUnchanged })).toBe('matches')
      expectRestored()
      return sync.mock.calls.length
    } finally {
      sync.mockRestore()
    }
  }
  test('when an earlier restore was interrupted', async () => expect(await synced(true)).toBe(1))
  test('when its time is corrected', async () => expect(await synced(false, CONTENT, 1_600_000_000)).toBe(1))
  test('when it is truncated', async () => expect(await synced(false, `${CONTENT}more`)).toBe(1))
  test('not otherwise', async () => expect(await synced(false)).toBe(0))
})

test('a file that is already right is not written', async () => {
  writeFileSync(path, CONTENT)
  chmodSync(path, 0o640)
  utimesSync(path, 1_700_000_000, 1_700_000_000)
  const before = statSync(path).ctimeMs
  expect(await restoreOne({ action: 'check' })).toBe('matches')
  expect(statSync(path).ctimeMs).toBe(before)
})
