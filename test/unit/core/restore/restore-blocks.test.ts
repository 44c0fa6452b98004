import {
  linkSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { FileAction } from '../../../../src/core/restore/plan.ts'
import type { Manifest, ManifestFile } from '../../../../src/format/manifest.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import {
  restoreFiles,
  openBlockRepository,
  pathIn,
  type BlockRepository,
} from '../../../support/builders/block-repository.ts'
import { sha1 } from '../../../support/builders/manifest.ts'

/** 400 KiB in a file of its own, with blocks in five backups. */
const NAME = 'pg_data/base/5/50001'
let repository: BlockRepository
let last: Manifest
let file: ManifestFile
let dir: string
let path: string
beforeAll(async () => {
  repository = await openBlockRepository('2.59.1-gz')
  last = repository.backups.at(-1)!
  file = [...last.files].find(({ name }) => name === NAME)!
})
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-blocks-'))
  path = pathIn(dir, NAME)
})
afterEach(() => rmSync(dir, { recursive: true }))

async function restoreLast(action: FileAction, storage: StorageDriver = repository.storage, manifest = last) {
  const [result] = await restoreFiles(storage, manifest, [file], dir, action)
  expect(sha1(readFileSync(path))).toBe(file.checksum)
  expect(statSync(path)).toMatchObject({ size: file.sizeBytes, mtimeMs: file.timestamp * 1000 })
  return result!
}

/** Records the ranges that are read. */
function watched(): { storage: StorageDriver; reads: { name: string; length: number }[] } {
  const reads: { name: string; length: number }[] = []
  const read: StorageDriver['read'] = (name, range) => {
    reads.push({ name, length: range?.length ?? -1 })
    return repository.storage.read(name, range)
  }
  return { storage: { ...repository.storage, read }, reads }
}

describe('an existing file is corrected in place', () => {
  test('by reading one range for one differing block', async () => {
    await restoreLast('create')
    const inode = statSync(path).ino
    const bytes = readFileSync(path)
    bytes[10 * 8192]! ^= 1
    writeFileSync(path, bytes)
    const { storage, reads } = watched()
    expect(await restoreLast('check', storage)).toMatchObject({ outcome: 'restored', revisedBytes: 8192 })
    expect(statSync(path).ino).toBe(inode)
    // The map and the super block of the differing block, not the whole file.
    expect(reads.length).toBe(2)
    expect(reads.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(3000)
  })
  test('without reading blocks when its content is right or only too long', async () => {
    await restoreLast('create')
    truncateSync(path, file.sizeBytes + 12_345)
    const { storage, reads } = watched()
    expect(await restoreLast('check', storage)).toMatchObject({ outcome: 'matches' })
    expect(reads).toEqual([])
  })
  test('when it is shorter and ends within a block', async () => {
    await restoreLast('create')
    truncateSync(path, 100_000)
    const { revisedBytes } = await restoreLast('check')
    expect(revisedBytes).toBe(file.sizeBytes - Math.floor(100_000 / 8192) * 8192)
  })
})

describe('only the target file is written', () => {
  test('when the file has a second hard link, that keeps its content', async () => {
    const other = join(dir, 'other')
    writeFileSync(path, 'precious')
    linkSync(path, other)
    expect(await restoreLast('check')).toMatchObject({ outcome: 'restored' })
    expect(readFileSync(other, 'latin1')).toBe('precious')
  })
  test('when it is a symbolic link, the link is replaced and its destination is not changed', async () => {
    const other = join(dir, 'other')
    writeFileSync(other, 'precious')
    symlinkSync(other, path)
    expect(await restoreLast('check')).toMatchObject({ outcome: 'restored' })
    expect(readFileSync(other, 'latin1')).toBe('precious')
  })
})

describe('a block that cannot be restored is reported with its place in the repository', () => {
  const refusal = async (storage: StorageDriver, manifest = last): Promise<Error & { code?: string }> => {
    const error: unknown = await restoreLast('create', storage, manifest).catch((reason: unknown) => reason)
    return error as Error & { code?: string }
  }
  test('when the backup that stores some of the blocks is missing', async () => {
    const name = `backup/demo/${last.references[0]}/${NAME}.pgbi`
    const kept = repository.storage.files.get(name)!
    repository.storage.files.delete(name)
    try {
      const error = await refusal(repository.storage)
      expect(error.code).toBe('file-missing')
      expect(error.message).toContain(name)
      expect(error.message).toContain(path)
    } finally {
      repository.storage.files.set(name, kept)
    }
  })
  test('when the map refers to a backup that is not in the chain', async () => {
    const error = await refusal(repository.storage, { ...last, references: last.references.slice(0, 1) })
    expect(error.code).toBe('format')
    expect(error.message).toMatch(
      /block map in .*50001\.pgbi' at \d+ \(\d+ bytes\): block \d+ refers to backup \d of 1/,
    )
  })
  test('when the manifest has a larger map than the file', async () => {
    const files = [{ ...file, blockMapSize: 1_000_000 }]
    const error: unknown = await restoreFiles(repository.storage, last, files, dir, 'create').catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'format' })
  })
  test.each([-1, 1, 8192])(
    'when the manifest has a file size that differs by %d bytes from the blocks',
    async (more) => {
      const files = [{ ...file, sizeBytes: file.sizeBytes + more }]
      for (const action of ['create', 'check'] as const) {
        const error: unknown = await restoreFiles(repository.storage, last, files, dir, action).catch((e: unknown) => e)
        expect(['checksum', 'format']).toContain((error as { code?: string }).code)
      }
    },
  )
  test('when all blocks are valid but the checksum of the file differs', async () => {
    const files = [{ ...file, checksum: '0'.repeat(40) }]
    const error: unknown = await restoreFiles(repository.storage, last, files, dir, 'create').catch((e: unknown) => e)
    expect(error).toMatchObject({ code: 'checksum' })
    expect(await restoreFiles(repository.storage, last, files, dir, 'check').catch((e: unknown) => e)).toMatchObject({
      code: 'checksum',
    })
  })
})
