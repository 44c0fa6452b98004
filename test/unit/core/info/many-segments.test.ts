import { fileURLToPath } from 'node:url'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { buildInfo } from '../../../../src/core/info/build.ts'
import type { StorageDriver } from '../../../../src/storage/driver.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { objectStorage } from '../../../../src/storage/object/storage.ts'
import { putFile } from '../../../../src/storage/whole-file.ts'
import { memoryObjects } from '../../../support/stores/object-client.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const REPO = fileURLToPath(new URL('../../../vectors/blocks/2.59.1-gz/repo', import.meta.url))
const INFO_FILES = ['archive/demo/archive.info', 'backup/demo/backup.info']

const hex = (value: number) => value.toString(16).toUpperCase().padStart(8, '0')
const SUM = 'da39a3ee5e6b4b0d3255bfef95601890afd80709'

async function aStorage(stanzas: readonly string[]): Promise<StorageDriver> {
  const storage = memoryStorage()
  for (const stanza of stanzas) {
    for (const name of INFO_FILES) {
      for (const ending of ['', '.copy'])
        await putFile(storage, name.replace('demo', stanza) + ending, readFileSync(join(REPO, name + ending)))
    }
  }
  return storage
}

/** Directories of 256 segments, as many as requested; entries are generated when they are listed. */
function withSegments(storage: StorageDriver, path: string, directories: number) {
  const calls: string[] = []
  const listed = { entries: 0 }
  const wrapped: StorageDriver = {
    ...storage,
    stat: (name, options) => (calls.push(`stat ${name}`), storage.stat(name, options)),
    read: (name, range) => (calls.push(`read ${name}`), storage.read(name, range)),
    async *list(prefix, options) {
      calls.push(
        `list ${prefix}${options?.recursive === true ? ' recursively' : ''}${options?.namesOnly === true ? '' : ' with sizes'}`,
      )
      const made = (name: string, kind: 'file' | 'path') => {
        listed.entries++
        return { name: `${prefix}/${name}`, kind, sizeBytes: 0, mtimeMs: 0 }
      }
      if (prefix === path) for (let log = 0; log < directories; log++) yield made(`00000001${hex(log)}`, 'path')
      else if (prefix.startsWith(`${path}/`)) {
        for (let segment = 0; segment < 256; segment++)
          yield made(`${prefix.slice(path.length + 1)}${hex(segment)}-${SUM}.gz`, 'file')
      } else yield* storage.list(prefix, options)
    },
  }
  return { storage: wrapped, calls, listed }
}

function infoOf(storage: StorageDriver) {
  return buildInfo({
    repos: [repositoryWith(storage)],
    detail: 'full',
    locksOf: () => [],
    signal: new AbortController().signal,
  })
}

test('info on a million segments lists only the first and the last directory', async () => {
  const storage = await aStorage(['demo'])
  const few = withSegments(storage, 'archive/demo/15-1', 3)
  const many = withSegments(storage, 'archive/demo/15-1', 3907)
  await infoOf(few.storage)
  const { stanzas } = await infoOf(many.storage)
  expect(stanzas[0]?.archives).toMatchObject([
    { min: `00000001${hex(0)}${hex(0)}`, max: `00000001${hex(3906)}${hex(255)}` },
  ])
  expect(many.calls.map((call) => call.replace(hex(3906), 'LAST')).sort()).toEqual(
    few.calls.map((call) => call.replace(hex(2), 'LAST')).sort(),
  )
  expect(many.calls).not.toContainEqual(expect.stringMatching(/recursively|with sizes/))
  expect(many.calls.length).toBeLessThan(8)
  // Directories once, and the two at the ends.
  expect(many.listed.entries).toBe(3907 + 2 * 256)
})

test('info lists directories of an object store, so the number of segments does not change the number of requests', async () => {
  const asked = async (segments: number) => {
    const objects = memoryObjects({ pageSize: 20 })
    const storage = objectStorage(objects, { path: '/repo' })
    for (const name of INFO_FILES) await putFile(storage, name, readFileSync(join(REPO, name)))
    for (let log = 0; log < 50; log++) {
      for (let segment = 0; segment < segments; segment++) {
        // Both have equal directories at the ends, because the segments of these are listed.
        const number = log === 0 || log === 49 ? 0 : segment
        const name = `repo/archive/demo/15-1/00000001${hex(log)}/00000001${hex(log)}${hex(number)}-${SUM}.gz`
        objects.objects.set(name, { bytes: Buffer.alloc(0), mtimeMs: 0 })
      }
    }
    const before = objects.requests.length
    const { stanzas } = await infoOf(storage)
    expect(stanzas[0]?.archives).toMatchObject([
      { min: `00000001${hex(0)}${hex(0)}`, max: `00000001${hex(49)}${hex(0)}` },
    ])
    return objects.requests.slice(before).map(({ kind, name }) => `${kind} ${name}`)
  }
  const [few, many] = [await asked(1), await asked(100)]
  expect(many).toEqual(few)
  // Three pages of directories, the two at the ends, the stanzas, and three files.
  expect(many.length).toBe(9)
})

test('info reads several stanzas of a slow store at the same time, up to a limit', async () => {
  const names = Array.from({ length: 40 }, (_, index) => `s${index}`)
  const storage = await aStorage(names)
  let under = 0
  let most = 0
  const slow: StorageDriver = {
    ...storage,
    parallel: 4,
    read: async (name, range) => {
      most = Math.max(most, ++under)
      await new Promise(setImmediate)
      under--
      return storage.read(name, range)
    },
  }
  const { stanzas } = await infoOf(slow)
  expect(stanzas.map(({ status }) => status.code)).toEqual(names.map(() => 0))
  expect(most).toBeGreaterThan(8)
  // Sixteen stanzas, and what each asks for together.
  expect(most).toBeLessThanOrEqual(16 * 3)
})
