import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { programProblems, readServerEnvironment } from '../../../../src/core/archive/status/archive-program.ts'
import { makeTestDir } from '../../../support/processes/test-user.ts'

const dir = makeTestDir('program')
const program = (name: string, mode = 0o755) => {
  mkdirSync(join(dir, name, '..'), { recursive: true })
  writeFileSync(join(dir, name), '')
  chmodSync(join(dir, name), mode)
  return join(dir, name)
}
/** An installation whose launcher is linked as both names, a directory with node, and one without. */
program('lib/bin/pgts')
program('lib/dist/cli/main.cjs')
mkdirSync(join(dir, 'bin'))
for (const name of ['pgts', 'pgbackrest']) symlinkSync(join(dir, 'lib/bin/pgts'), join(dir, 'bin', name))
program('node/node')
program('plain/pgbackrest')
program('denied/pgts', 0o644)

const problems = (command: string, path = `/nonexistent:${dir}/bin:${dir}/node`, more: Record<string, string> = {}) =>
  programProblems(command, `${dir}/data`, new Map(Object.entries({ PATH: path, ...more })))

describe('programProblems', () => {
  test.each([
    'pgts --stanza=main archive-push %p',
    'pgbackrest --stanza=main archive-push %p',
    `${dir}/bin/pgts --stanza=main archive-push %p`,
    `'${dir}/bin/pgts' --stanza=main archive-push %p`,
    `cd /tmp && exec "${dir}/bin/pgts" archive-push %p`,
    'test ! -f /x/%f && cp %p /x/%f # pgts',
    'true; # /nowhere/pgts',
    'PATH=/opt/x:$PATH pgts archive-push %p',
    `PATH=${dir}/bin:${dir}/node pgts archive-push %p`,
    `env A=b pgts archive-push %p`,
  ])('finds no problem in archive_command %s', (command) => {
    expect(problems(command)).toEqual([])
  })

  test.each([
    ['/nowhere/pgts archive-push %p', 'starts /nowhere/pgts, which does not exist on this host'],
    [`timeout 60 /nowhere/pgts x`, 'starts /nowhere/pgts, which does not exist on this host'],
    ['bin/pgts x', `starts ${dir}/data/bin/pgts, which does not exist on this host`],
    [`${dir}/denied/pgts x`, `starts ${dir}/denied/pgts, which this user may not execute`],
    [`${dir}/denied x`, `starts ${dir}/denied, which this user may not execute`],
  ])('reports that the program of archive_command %s cannot be started', (command, problem) => {
    expect(problems(command)).toEqual([problem])
  })

  test('looks up a program without a path in the PATH of the server', () => {
    const debian = '/nonexistent/sbin:/nonexistent/bin'
    expect(problems('pgts archive-push %p', debian)).toEqual([
      `starts pgts, which is in no directory of the server's PATH (${debian}): write its absolute path`,
    ])
    expect(problems('nice pgbackrest archive-push %p', debian)).toEqual([
      `starts pgbackrest, which is in no directory of the server's PATH (${debian}): write its absolute path`,
    ])
    expect(programProblems('pgts archive-push %p', dir)).toEqual([])
  })

  test('requires node in PGTS_NODE or in the PATH of the server', () => {
    const missing = `starts ${dir}/bin/pgts, and node is in no directory of the server's PATH (${dir}/bin): write PGTS_NODE=/path/to/node in front of it`
    expect(problems('pgts archive-push %p', `${dir}/bin`)).toEqual([missing])
    expect(problems(`PGTS_NODE=${dir}/node/node pgts archive-push %p`, `${dir}/bin`)).toEqual([])
    expect(problems('pgts archive-push %p', `${dir}/bin`, { PGTS_NODE: `${dir}/node/node` })).toEqual([])
    expect(problems('pgts archive-push %p', `${dir}/bin`, { PGTS_NODE: '/nowhere/node' })).toEqual([
      `starts ${dir}/bin/pgts with PGTS_NODE=/nowhere/node, which this user cannot execute`,
    ])
    // A package of the operating system carries its own.
    program('carries/bin/pgts')
    program('carries/bin/node')
    program('carries/dist/cli/main.cjs')
    expect(problems(`${dir}/carries/bin/pgts archive-push %p`, `${dir}/bin`)).toEqual([])
    // The real pgbackrest needs no node.
    expect(problems('pgbackrest archive-push %p', `${dir}/plain`)).toEqual([])
  })
})

test('reads the environment with which a process was started', () => {
  expect(readServerEnvironment(process.pid)?.get('PATH')).toBe(process.env['PATH'])
  expect(readServerEnvironment(2 ** 30)).toBeUndefined()
})
