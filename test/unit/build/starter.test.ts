import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { projectRoot } from '../../support/postgres/postgres.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pgts-starter-'))
afterAll(() => rmSync(scratch, { recursive: true }))

/** Start main.cjs as a Node of another version would, as far as its number goes. */
function startWith(version: string, ...args: string[]) {
  const preload = join(scratch, `${version}.cjs`)
  const value = `{ ...process.versions, node: '${version}' }`
  writeFileSync(preload, `Object.defineProperty(process, 'versions', { value: ${value} })\n`)
  const argv = ['--require', preload, join(projectRoot, 'dist/cli/main.cjs'), ...args]
  return spawnSync(process.execPath, argv, { cwd: scratch, encoding: 'utf8' })
}

const { engines } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { engines: { node: string } }
const needed = engines.node.replace('>=', '')
const [major = 0, minor = 0] = needed.split('.').map(Number)

describe.each([
  ['version'],
  ['info', '--no-such-option'],
  ['archive-push:async', '--no-such-option'],
  ['archive-push', '--no-such-option'],
  ['archive-get', '--no-such-option'],
])('%s', (...args) => {
  test.each([`${major}.${minor - 1}.9`, `${major - 1}.99.0`, '9.11.2'])(
    'refuses Node %s with its version in the message',
    (version) => {
      const { status, stdout, stderr } = startWith(version, ...args)
      expect([status, stdout]).toEqual([46, ''])
      expect(stderr).toBe(
        `ERROR: [046]: Node ${version} is too old: pgts requires Node ${needed} or newer\n` +
          '       HINT: install a newer Node, or set PGTS_NODE to the path of one\n',
      )
      // bin/pgts treats it as an exit code of pgts.
      expect(startWith(version, '--launched=1', ...args).status).toBe(46 + 128)
    },
  )

  test.each([`${major}.${minor}.0`, `${major + 1}.0.0`, '100.0.0'])('runs with Node %s', (version) => {
    const { status, stderr } = startWith(version, ...args)
    expect([status, stderr]).toEqual(
      args[0] === 'version' ? [0, ''] : [31, expect.stringContaining('no option --no-such-option')],
    )
  })
})
