import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { passwordIn, readPasswordFile } from '../../../../src/postgres/libpq/password-file.ts'
import { makeTestDir } from '../../../support/processes/test-user.ts'

const key = { hosts: ['/var/run/postgresql', 'localhost'], port: 5432, database: 'postgres', user: 'bk' }

describe('the password of a password file', () => {
  test.each([
    ['the first matching line', 'localhost:5432:postgres:bk:first\n*:*:*:*:last\n', 'first'],
    ['wildcards in every field', '*:*:*:*:p\n', 'p'],
    ['an empty password of the first matching line', 'other:1:a:b:x\n*:*:*:bk:\n*:*:*:*:q\n', ''],
    ['the socket directory as host', '/var/run/postgresql:5432:postgres:bk:dir\n', 'dir'],
    ['another host first', 'db.example:5432:postgres:bk:wrong\nlocalhost:*:*:*:right\n', 'right'],
    ['another port', 'localhost:5433:*:*:wrong\n', undefined],
    ['a port that begins alike', 'localhost:54321:*:*:wrong\n', undefined],
    ['another database', '*:*:template1:*:wrong\n', undefined],
    ['another user', '*:*:*:bkup:wrong\n', undefined],
    ['no newline at the end', '*:*:*:*:p', 'p'],
    ['carriage returns', '*:*:*:*:p\r\n', 'p'],
    ['escaped colon and backslash', '*:*:*:*:a\\:b\\\\c\n', 'a:b\\c'],
    ['what follows a fifth colon', '*:*:*:*:a:b\n', 'a'],
    ['a comment', '#*:*:*:*:p\n', undefined],
    ['white space that is part of a field', '* :*:*:*:p\n *:*:*:*:q\n', undefined],
    ['white space that is part of the password', '*:*:*:*: p \n', ' p '],
    ['too few fields', '*:*:*:p\n*\n\n', undefined],
    ['a long line', `*:*:*:*:${'x'.repeat(5000)}\n`, 'x'.repeat(5000)],
    ['not ASCII', '*:*:*:*:pässwörd\n', 'pässwörd'],
  ])('%s', (_, text, password) => {
    expect(passwordIn(text, key)).toBe(password)
  })

  test('matches escaped names', () => {
    const odd = { hosts: ['/tmp/a:b'], port: 1, database: 'd\\x', user: 'u:v' }
    expect(passwordIn('/tmp/a\\:b:1:d\\\\x:u\\:v:p\n', odd)).toBe('p')
  })
})

describe('readPasswordFile', () => {
  const dir = makeTestDir('pgpass')
  const file = (name: string, mode: number) => {
    writeFileSync(join(dir, name), '*:*:*:*:p\n')
    chmodSync(join(dir, name), mode)
    return join(dir, name)
  }

  test('reads a private file', async () => {
    expect(await readPasswordFile(file('private', 0o600), key)).toEqual({ password: 'p' })
  })
  test('ignores a file that others may read, with a hint', async () => {
    const name = file('group', 0o640)
    expect(await readPasswordFile(name, key)).toEqual({
      problem: `password file '${name}' was ignored because other users can read it; run: chmod 0600 ${name}`,
    })
  })
  test('returns nothing when the file is absent', async () => {
    expect(await readPasswordFile(join(dir, 'none'), key)).toEqual({})
    expect(await readPasswordFile(join(dir, 'none/below'), key)).toEqual({})
  })
  test('does not wait for a FIFO, and refuses a directory', async () => {
    spawnSync('mkfifo', ['-m', '600', join(dir, 'fifo')])
    mkdirSync(join(dir, 'directory'), { mode: 0o700 })
    for (const name of ['fifo', 'directory']) {
      expect((await readPasswordFile(join(dir, name), key)).problem).toMatch(/is not a plain file; it was ignored$/)
    }
  })
})
