import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeConfig } from '../../../src/commands/init/write-config.ts'

const owner = { uid: process.getuid!(), gid: process.getgid!(), name: 'me' }
let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-write-'))
  path = join(dir, 'pgts.yaml')
})
afterEach(() => rmSync(dir, { recursive: true }))

test('writes a new file with mode 0640 and leaves no other file', () => {
  writeConfig(path, 'a: 1\n', undefined, owner)
  expect(readFileSync(path, 'utf8')).toBe('a: 1\n')
  expect(statSync(path).mode & 0o777).toBe(0o640)
  expect(readdirSync(dir)).toEqual(['pgts.yaml'])
})

test('does not replace a file that appeared after the question', () => {
  writeFileSync(path, 'theirs\n')
  expect(() => writeConfig(path, 'ours\n', undefined, owner)).toThrow(/another program has changed it/)
  expect(readFileSync(path, 'utf8')).toBe('theirs\n')
  expect(readdirSync(dir)).toEqual(['pgts.yaml'])
})

test('does not replace a file that was changed after it was read', () => {
  writeFileSync(path, 'theirs\n')
  expect(() => writeConfig(path, 'ours\n', 'before\n', owner)).toThrow(/another program has changed it/)
  expect(readFileSync(path, 'utf8')).toBe('theirs\n')
  expect(readdirSync(dir)).toEqual(['pgts.yaml'])
})

test('an existing file keeps its mode, and a link to it stays', () => {
  const target = join(dir, 'real.yaml')
  writeFileSync(target, 'before\n', { mode: 0o600 })
  symlinkSync('real.yaml', path)
  writeConfig(path, 'after\n', 'before\n', owner)
  expect(readFileSync(target, 'utf8')).toBe('after\n')
  expect(statSync(target).mode & 0o777).toBe(0o600)
  expect(readdirSync(dir)).toEqual(['pgts.yaml', 'real.yaml'])
})

test('reports a directory that does not exist', () => {
  expect(() => writeConfig(join(dir, 'none/pgts.yaml'), 'a\n', undefined, owner)).toThrow(/cannot write .*ENOENT/)
})
