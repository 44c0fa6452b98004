import { expect, test } from 'vitest'
import type { ListedFile } from '../../../src/postgres/data-directory.ts'
import { ListedFiles } from '../../../src/postgres/listed-files.ts'
import { asBytes, bytes } from '../../../src/util/byte-string.ts'

function aListedFile(name: string, more: Partial<ListedFile> = {}): ListedFile {
  const file = {
    mode: 0o600,
    user: asBytes('postgres'),
    group: asBytes('postgres'),
    sizeBytes: 8192,
    timestamp: 1_790_000_000,
  }
  return { name: asBytes(name), ...file, pageChecksumApplies: false, sizeLimited: false, ...more }
}

test('files are returned as they were added, sorted by the bytes of their names', () => {
  const files = [
    aListedFile('pg_data/a/z', { user: false, group: asBytes('\xff') }),
    aListedFile('pg_data/a-', { sizeBytes: 2 ** 40 + 1, timestamp: -(2 ** 35), mode: 0o777 }),
    aListedFile('pg_data/\xff', { pageChecksumApplies: true, sizeLimited: true }),
    aListedFile('pg_data/B', { sizeLimited: true, sizeBytes: 0 }),
  ]
  const list = new ListedFiles()
  for (const file of files) list.add(file)
  expect([...list]).toEqual(files)
  list.sort()
  expect([...list]).toEqual([files[3], files[1], files[0], files[2]])
  expect(list.at(1)).toEqual(files[1])
  expect([list.length, list.at(4)]).toEqual([4, undefined])
})

test('thousands of files are kept, in order', () => {
  const list = new ListedFiles()
  const files = Array.from({ length: 5000 }, (_, index) =>
    aListedFile(bytes`pg_data/base/5/${100_000 + index}`, { sizeBytes: index }),
  )
  for (const file of files) list.add(file)
  list.sort()
  expect([...list]).toEqual(files)
})
