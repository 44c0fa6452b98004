import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { decrypt } from '../../../../src/codec/cipher.ts'
import { loadBlockMap } from '../../../../src/core/block/read.ts'
import { serialiseBlockMap } from '../../../../src/format/block-map.ts'
import { readAll } from '../../../../src/util/bytes.ts'
import {
  blockFiles,
  blockRepositories,
  restoreFiles,
  openBlockRepository,
  pathIn,
  type BlockRepository,
} from '../../../support/builders/block-repository.ts'

let dir: string
beforeEach(() => void (dir = mkdtempSync(join(tmpdir(), 'pgts-blocks-'))))
afterEach(() => rmSync(dir, { recursive: true }))
const sha1Of = (path: string) => createHash('sha1').update(readFileSync(path)).digest('hex')

test('the vectors have a repository for every codec, plain and encrypted', () => {
  expect(blockRepositories.map((name) => name.replace('2.59.1-', ''))).toEqual(
    expect.arrayContaining(['bz2-encrypted', 'gz', 'lz4', 'none', 'zst-encrypted']),
  )
})

describe.each(blockRepositories)('what pgbackrest stored as blocks: %s', (name) => {
  let repository: BlockRepository
  beforeAll(async () => void (repository = await openBlockRepository(name)))

  test('every block map is serialised again byte for byte', async () => {
    const { storage, backups } = repository
    const kinds = { maps: 0, severalReferences: 0, continued: 0, short: 0 }
    for (const manifest of backups) {
      for (const { where } of blockFiles(manifest)) {
        const range = { offset: where.offset + where.repoSizeBytes - where.mapSizeBytes, length: where.mapSizeBytes }
        let bytes = await readAll(await storage.read(where.repoName, range))
        if (where.cipherPass !== undefined) bytes = decrypt(bytes, where.cipherPass, { raw: true })
        const map = await loadBlockMap(storage, where)
        expect(serialiseBlockMap(map).toString('hex')).toBe(bytes.toString('hex'))
        const references = map.blocks.map(({ superBlock }) => superBlock.reference)
        kinds.maps++
        if (new Set(references).size > 1) kinds.severalReferences++
        if (references.some((r, i) => i > 1 && r !== references[i - 1] && references.indexOf(r) < i)) kinds.continued++
        if (where.sizeBytes % where.blockSize !== 0) kinds.short++
      }
    }
    // The vectors must contain the difficult cases.
    expect(kinds.maps).toBeGreaterThan(15)
    expect(kinds.severalReferences).toBeGreaterThan(4)
    expect(kinds.continued).toBeGreaterThan(1)
    expect(kinds.short).toBeGreaterThan(3)
  })

  test('every backup is restored with the recorded content', async () => {
    for (const manifest of repository.backups) {
      const target = join(dir, manifest.label)
      const recorded = repository.recorded(manifest.label)
      const files = [...manifest.files].filter((file) => recorded.has(file.name))
      expect(files.length).toBe(recorded.size)
      mkdirSync(target)
      await restoreFiles(repository.storage, manifest, [...manifest.files], target, 'create')
      for (const [file, { sizeBytes, checksum }] of recorded) {
        const path = pathIn(target, file)
        expect([file, statSync(path).size, sha1Of(path)]).toEqual([file, sizeBytes, checksum])
      }
      expect(readdirSync(target).length).toBe(manifest.files.length)
    }
  })

  test('only differing blocks are fetched when the files of another backup exist', async () => {
    const { backups, storage } = repository
    let revised = 0
    for (const from of backups) {
      for (const to of backups) {
        rmSync(dir, { recursive: true })
        mkdirSync(dir)
        await restoreFiles(storage, from, [...from.files], dir, 'create')
        const files = [...to.files].filter(({ blockMapSize }) => blockMapSize !== undefined)
        const results = await restoreFiles(storage, to, files, dir, 'check')
        for (const { name: file, outcome, revisedBytes = 0, sizeBytes } of results) {
          const { checksum } = repository.recorded(to.label).get(file)!
          const before = repository.recorded(from.label).get(file)!
          expect(sha1Of(pathIn(dir, file))).toBe(checksum)
          if (before.checksum === checksum) expect(outcome).toBe('matches')
          else if (revisedBytes < sizeBytes && before.sizeBytes > 0) revised++
        }
      }
    }
    expect(revised).toBeGreaterThan(20)
  })
})
