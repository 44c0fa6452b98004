import { statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { textToBytes } from '../../../src/util/byte-string.ts'
import { makeDirectories } from '../../../src/util/make-directories.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'

const dir = makeTestDir('directories')

test('creates missing directories and returns the topmost one', () => {
  const path = `${textToBytes(join(dir, 'ä'))}/b\xff/c`
  expect(makeDirectories(path, 0o750)).toBe(textToBytes(join(dir, 'ä')))
  expect(statSync(Buffer.from(path, 'latin1')).mode & 0o777).toBe(0o750)
  expect(makeDirectories(path, 0o750)).toBeUndefined()
  expect(makeDirectories(`${path}/d`, 0o750)).toBe(`${path}/d`)
})

test('throws when a file or a dangling link has the name', () => {
  writeFileSync(join(dir, 'file'), '')
  symlinkSync(join(dir, 'nowhere'), join(dir, 'link'))
  expect(() => makeDirectories(join(dir, 'file'), 0o750)).toThrow(/EEXIST/)
  expect(() => makeDirectories(join(dir, 'file/below'), 0o750)).toThrow(/EEXIST|ENOTDIR/)
  expect(() => makeDirectories(join(dir, 'link/below'), 0o750)).toThrow(/EEXIST/)
})

test('returns from a file system that creates nothing', () => {
  expect(() => makeDirectories('/proc/nothing/below', 0o750)).toThrow(/ENOENT/)
})
