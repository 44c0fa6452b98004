import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { acceptedMethods } from '../../../../src/postgres/libpq/authentication.ts'
import { LIBPQ_OTHER_VARIABLES, LIBPQ_PARAMETERS } from '../../../../src/postgres/libpq/parameters.ts'
import { parseService } from '../../../../src/postgres/libpq/service-file.ts'
import { libpqSettings, requirePeer } from '../../../../src/postgres/libpq/settings.ts'
import { makeTestDir } from '../../../support/processes/test-user.ts'

const dir = makeTestDir('libpq')
const HOME = { HOME: dir }

/** The environment variables of the libpq documentation, 10 to 18 (appendix "Environment Variables"). */
const DOCUMENTED = `PGHOST PGSSLNEGOTIATION PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGREQUIREAUTH PGCHANNELBINDING
  PGSERVICE PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE PGREQUIRESSL PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLCERTMODE
  PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI PGREQUIREPEER PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION PGGSSENCMODE
  PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS
  PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGDATESTYLE PGTZ PGGEQO PGSYSCONFDIR PGLOCALEDIR`

test('every variable that libpq documents has a row', () => {
  const known = [...LIBPQ_PARAMETERS.flatMap(({ variable }) => variable ?? []), ...Object.keys(LIBPQ_OTHER_VARIABLES)]
  expect(known.sort()).toEqual(DOCUMENTED.split(/\s+/).sort())
})

describe('libpqSettings', () => {
  test('reads the variables that libpq reads', () => {
    expect(
      libpqSettings({
        ...HOME,
        PGUSER: 'u',
        PGPASSWORD: 'p',
        PGPASSFILE: '/x/pass',
        PGOPTIONS: '-c geqo=off',
        PGCONNECT_TIMEOUT: ' 3 ',
        PGREQUIREPEER: 'postgres',
        PGREQUIREAUTH: 'md5',
        PGTARGETSESSIONATTRS: 'primary',
      }),
    ).toEqual({
      user: 'u',
      password: 'p',
      passFile: '/x/pass',
      options: '-c geqo=off',
      connectTimeoutMs: 3000,
      requirePeer: 'postgres',
      requireAuth: 'md5',
      targetSessionAttrs: 'primary',
    })
  })
  test('uses ~/.pgpass, and treats empty variables as unset', () => {
    const empty = { PGUSER: '', PGPASSWORD: '', PGPASSFILE: '', PGSERVICE: '', PGCONNECT_TIMEOUT: '' }
    expect(libpqSettings({ ...HOME, ...empty })).toEqual({ passFile: join(dir, '.pgpass') })
  })
  test.each(['0', '-1'])('PGCONNECT_TIMEOUT=%s sets no limit', (value) => {
    expect(libpqSettings({ ...HOME, PGCONNECT_TIMEOUT: value }).connectTimeoutMs).toBeUndefined()
  })
  test.each([
    [{ PGCONNECT_TIMEOUT: '2s' }, /PGCONNECT_TIMEOUT.*'2s'/],
    [{ PGGSSENCMODE: 'require' }, /PGGSSENCMODE=require.*GSSAPI encryption cannot be used/],
    [{ PGCHANNELBINDING: 'require' }, /PGCHANNELBINDING=require.*channel binding cannot be used/],
    [{ PGMINPROTOCOLVERSION: '3.2' }, /PGMINPROTOCOLVERSION=3.2.*protocol 3.0/],
    [{ PGSERVICE: 'nope' }, /^definition of service 'nope' not found$/],
    [{ PGSERVICE: 'nope', PGSERVICEFILE: '/nonexistent' }, /^service file '\/nonexistent' not found$/],
  ])('refuses %j by name', (env, message) => {
    expect(() => libpqSettings({ ...HOME, PGSYSCONFDIR: '/nonexistent', ...env })).toThrow(
      expect.objectContaining({ exitCode: 56, message: expect.stringMatching(message) as string }),
    )
  })
  test.each([
    { PGGSSENCMODE: 'prefer' },
    { PGCHANNELBINDING: 'prefer' },
    { PGMINPROTOCOLVERSION: '3.0' },
    { PGSSLMODE: 'verify-full' },
    { PGSSLNEGOTIATION: 'direct' },
    { PGHOST: '192.0.2.1' },
    { PGDATABASE: 'x' },
  ])('accepts %j, which has no effect on a socket', (env) => {
    expect(libpqSettings({ ...HOME, ...env })).toEqual({ passFile: join(dir, '.pgpass') })
  })

  test('prefers the service to variables, and the user file to the system file', () => {
    const system = makeTestDir('sysconf')
    writeFileSync(join(system, 'pg_service.conf'), '[a]\nuser=system\n[only]\nuser=of-system\n')
    writeFileSync(join(dir, '.pg_service.conf'), '[a]\nuser=home\nport=1\nsslmode=require\n')
    const env = { ...HOME, PGSYSCONFDIR: system, PGUSER: 'variable' }
    expect(libpqSettings({ ...env, PGSERVICE: 'a' }).user).toBe('home')
    expect(libpqSettings({ ...env, PGSERVICE: 'only' }).user).toBe('of-system')
    const named = join(system, 'named.conf')
    writeFileSync(named, '[a]\nuser=named\npassword=secret\n')
    expect(libpqSettings({ ...env, PGSERVICE: 'a', PGSERVICEFILE: named })).toMatchObject({
      user: 'named',
      password: 'secret',
    })
  })
  test('reports an unsupported parameter of a service by name, without its value', () => {
    writeFileSync(join(dir, '.pg_service.conf'), '[oauth]\noauth_client_secret=verysecretvalue\n')
    const settings = () => libpqSettings({ ...HOME, PGSERVICE: 'oauth' })
    expect(settings).toThrow(/parameter 'oauth_client_secret' of the service requires: OAuth cannot be used/)
    expect(settings).not.toThrow(/verysecretvalue/)
  })
})

describe('parseService', () => {
  const parse = (text: string) => parseService(text, 'a', 'f')
  test.each([
    ['# comment\n\n[b]\nuser=b\n[a]\n  user=x y  \nuser=second\n[c]\nuser=c\n', [['user', 'x y']]],
    ['[a]\npassword=a=b\n', [['password', 'a=b']]],
    ['[a]\n', []],
  ])('reads %j', (text, entries) => {
    expect([...parse(text)!]).toEqual(entries)
  })
  test('does not match a section of which the name is only a prefix', () => {
    expect(parse('[ab]\nuser=x\n')).toBeUndefined()
  })
  test.each([
    ['[a]\nservice=b\n', "nested service specifications are not supported in service file 'f', line 2"],
    ['[a]\nldap://x\n', "LDAP lookup is not supported in service file 'f', line 2"],
    ['[a]\nuser\n', "syntax error in service file 'f', line 2"],
    ['[a]\nusr=secret\n', "syntax error in service file 'f', line 2"],
  ])('refuses %j', (text, message) => {
    expect(() => parse(text)).toThrow(message)
  })
})

test.each([
  [undefined, ['none', 'password', 'md5', 'scram-sha-256']],
  ['scram-sha-256', ['scram-sha-256']],
  ['md5, scram-sha-256', ['md5', 'scram-sha-256']],
  ['!password,!md5', ['none', 'scram-sha-256']],
  ['none', ['none']],
])('require_auth %j accepts %j', (value, accepted) => {
  const accepts = acceptedMethods(value)
  expect((['none', 'password', 'md5', 'scram-sha-256'] as const).filter(accepts)).toEqual(accepted)
})
test.each(['foo', 'md5,!password', 'md5,,'])('require_auth %j is refused', (value) => {
  expect(() => acceptedMethods(value)).toThrow(`invalid require_auth (PGREQUIREAUTH) '${value}'`)
})

test('requirepeer compares the owner of the socket', () => {
  const socket = join(dir, 'socket')
  writeFileSync(socket, '')
  requirePeer(socket, 'root-name', (uid) => (uid === process.getuid!() ? 'root-name' : undefined))
  expect(() => requirePeer(socket, 'postgres', () => 'mallory')).toThrow(
    `requirepeer (PGREQUIREPEER) specifies 'postgres', but the server of ${socket} runs as 'mallory'`,
  )
})
