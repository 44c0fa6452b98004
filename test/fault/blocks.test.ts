import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { isPgtsError, type ErrorCode } from '../../src/util/error.ts'
import {
  blockRepositories,
  restoreFiles,
  openBlockRepository,
  pathIn,
  type BlockRepository,
} from '../support/builders/block-repository.ts'

/** How many positions to damage in each repository; thousands were tested by hand. */
const POSITIONS = Number(process.env['PGTS_TEST_POSITIONS'] ?? 60)

// Every file is synced, which is fast on a file system in memory.
const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
let dir: string
beforeEach(() => void (dir = mkdtempSync(join(parent, 'pgts-flip-'))))
afterEach(() => rmSync(dir, { recursive: true }))

describe.each(blockRepositories)('one damaged byte in a bundle, a super block or a block map: %s', (name) => {
  let repository: BlockRepository
  beforeAll(async () => void (repository = await openBlockRepository(name)))

  test(
    'causes the right bytes or a known error, never wrong bytes',
    async () => {
      const { storage, backups } = repository
      const [first, last] = [backups[0]!, backups.at(-1)!]
      const recorded = repository.recorded(last.label)
      const stored = [...storage.files].filter(([file]) => /\/bundle\/|\.pgbi$/.test(file))
      const total = stored.reduce((sum, [, { bytes }]) => sum + bytes.length, 0)
      const seen = { right: 0, refused: new Map<ErrorCode, number>() }

      for (let i = 0; i < POSITIONS; i++) {
        // Spread evenly over all stored bytes, at a distance that is no power of two.
        let position = Math.floor(((i + 0.37) * total) / POSITIONS)
        const [file, kept] = stored.find(([, { bytes }]) => (position -= bytes.length) < 0)!
        const bytes = Buffer.from(kept.bytes)
        bytes[bytes.length + position]! ^= 1 << (i % 8)
        storage.files.set(file, { ...kept, bytes })
        for (const action of ['create', 'check'] as const) {
          if (action === 'check') {
            storage.files.set(file, kept)
            await restoreFiles(storage, first, [...first.files], dir, 'create')
            storage.files.set(file, { ...kept, bytes })
          }
          for (const one of last.files) {
            try {
              await restoreFiles(storage, last, [one], dir, action)
            } catch (error) {
              if (!isPgtsError(error)) throw error
              expect(['checksum', 'format', 'crypto', 'file-read', 'file-missing']).toContain(error.code)
              seen.refused.set(error.code, (seen.refused.get(error.code) ?? 0) + 1)
              continue
            }
            const checksum = recorded.get(one.name)?.checksum ?? one.checksum
            expect(sha1(readFileSync(pathIn(dir, one.name)))).toBe(checksum)
            seen.right++
          }
        }
        storage.files.set(file, kept)
      }
      expect(seen.right).toBeGreaterThan(POSITIONS)
      expect([...seen.refused.values()].reduce((a, b) => a + b, 0)).toBeGreaterThan(POSITIONS / 20)
      if (process.env['PGTS_TEST_POSITIONS'] !== undefined) console.log(name, seen)
    },
    60_000 + POSITIONS * 500,
  )
})

function sha1(bytes: Buffer): string {
  return createHash('sha1').update(bytes).digest('hex')
}
