import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { serverPrograms } from '../../../src/commands/shared/server-programs.ts'

const dir = mkdtempSync(join(tmpdir(), 'pgts-programs-'))
afterAll(() => rmSync(dir, { recursive: true }))

test('takes the directory that is given, if it has initdb and postgres', () => {
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  expect(() => serverPrograms(bin, undefined)).toThrow(/has no programs of a PostgreSQL server/)
  for (const name of ['initdb', 'postgres']) {
    writeFileSync(join(bin, name), '')
    chmodSync(join(bin, name), 0o755)
  }
  expect(serverPrograms(bin, undefined)).toBe(bin)
})
