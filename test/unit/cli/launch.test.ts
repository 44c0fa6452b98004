import { describe, expect, test } from 'vitest'
import { readLaunch } from '../../../src/cli/launch.ts'

describe('the path that the program was called by', () => {
  const cwd = process.cwd()
  const parent = cwd.slice(0, cwd.lastIndexOf('/'))

  test.each([
    ['/usr/bin/pgbackrest', '/usr/bin/pgbackrest'],
    ['/a b/x:y/pgbackrest', '/a b/x:y/pgbackrest'],
    ['pgts', `${cwd}/pgts`],
    ['bin/pgts', `${cwd}/bin/pgts`],
    ['./bin/pgts', `${cwd}/bin/pgts`],
    ['.././/bin/pgts', `${parent}/bin/pgts`],
    // After a symbolic link `..` is not the parent in the path.
    ['link/../pgts', `${cwd}/link/../pgts`],
  ])('%s becomes the absolute path %s', (called, program) => {
    expect(readLaunch([`--launched=::${called}`, 'info'])).toMatchObject({
      argv: ['info'],
      launcher: undefined,
      program,
    })
  })

  test('is read after the process id and the mask of ignored signals', () => {
    const launch = readLaunch(['--launched=:1:/usr/bin/pgbackrest'])
    expect(launch).toEqual({ argv: [], launcher: undefined, ignored: ['SIGHUP'], program: '/usr/bin/pgbackrest' })
    expect(readLaunch([`--launched=${process.pid}::/usr/bin/pgbackrest`, 'x'])).toMatchObject({
      launcher: process.pid,
      program: '/usr/bin/pgbackrest',
    })
  })

  test('is bin/pgts when Node was started directly', () => {
    expect(readLaunch(['info'])).toMatchObject({ argv: ['info'], program: `${cwd}/bin/pgts` })
  })
})
