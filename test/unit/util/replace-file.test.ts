import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { replaceFile } from '../../../src/util/replace-file.ts'

const dir = mkdtempSync(join(tmpdir(), 'pgts-replace-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('replaces a file whole, and writes through no link that has the name of its temporary file', () => {
  const [path, other] = [join(dir, 'file'), join(dir, 'other')]
  writeFileSync(path, 'the old content, which is longer')
  writeFileSync(other, 'kept')
  symlinkSync(other, `${path}.${process.pid}.tmp`)
  replaceFile(textToBytes(path), 'new', { mode: 0o640 })
  expect(readFileSync(path, 'utf8')).toBe('new')
  expect(statSync(path).mode & 0o777).toBe(0o640)
  expect(readFileSync(other, 'utf8')).toBe('kept')
  expect(readdirSync(dir).sort()).toEqual(['file', 'other'])
})
