import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fileOutput } from '../../../src/cli/log-output.ts'
import { makeTestDir } from '../../support/processes/test-user.ts'

test('a log that was rotated or removed is continued in a new file after a minute, and no line is lost', () => {
  const dir = makeTestDir('rotation')
  const path = join(dir, 'all-server.log')
  let now = 0
  const log = fileOutput(path, false, () => now)
  log.write('1\n')
  renameSync(path, `${path}.1`)
  now = 59_999
  log.write('2\n')
  now = 60_000
  log.write('3\n')
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('1\n2\n')
  expect(readFileSync(path, 'utf8')).toBe('3\n')
  rmSync(path)
  now = 120_000
  log.write('4\n')
  expect(readFileSync(path, 'utf8')).toBe('4\n')
  log.close()
  expect(readdirSync(dir).sort()).toEqual(['all-server.log', 'all-server.log.1'])
})

test('a log that is a device stays open', () => {
  let now = 0
  const log = fileOutput('/dev/null', false, () => now)
  for (; now < 200_000; now += 50_000) log.write('x\n')
  log.close()
})
