import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connectServer } from '../../src/postgres/client.ts'
import { giveToTestUser, makeTestDir, testUser } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'

const PASSWORD = 'secret: and \\ long'
let site: Site
let home: string

beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1 })
  home = makeTestDir('home')
  giveToTestUser(home)
  const hba = join(site.cluster.dataDir, 'pg_hba.conf')
  const methods = { bk: 'scram-sha-256', bk_md5: 'md5', bk_clear: 'password' }
  for (const role of Object.keys(methods)) {
    const stored = role === 'bk_md5' ? 'md5' : 'scram-sha-256'
    await site.cluster.query(
      `set password_encryption = '${stored}'; create role ${role} superuser login password '${PASSWORD}'`,
    )
  }
  const lines = Object.entries(methods).map(([role, method]) => `local all ${role} ${method}\n`)
  writeFileSync(hba, lines.join('') + readFileSync(hba, 'utf8'))
  await site.cluster.query('select pg_reload_conf()')
  await until('pg_hba.conf is read', async () => /no password supplied/.test(await refusal({ user: 'bk_clear' })))
})
afterAll(() => site[Symbol.asyncDispose]())

type Given = Partial<Parameters<typeof connectServer>[0]>

async function connect(given: Given): Promise<string> {
  await using server = await connectServer({
    socketPath: site.cluster.socketDir,
    port: site.cluster.port,
    database: 'postgres',
    command: 'check',
    timeoutMs: 20_000,
    ...given,
    env: { HOME: home, ...given.env },
  })
  const [row] = await server.query<{ name: string }>('select current_user::text as name')
  return row!.name
}

/** Message and hints of the refusal. */
async function refusal(given: Given): Promise<string> {
  return connect(given).then(
    (user) => `connected as ${user}`,
    (error: Error & { hints?: string[]; exitCode?: number }) =>
      [`[${error.exitCode}]`, error.message, ...(error.hints ?? [])].join('\n'),
  )
}

function passwordFile(text: string, mode = 0o600): void {
  writeFileSync(join(home, '.pgpass'), text)
  chmodSync(join(home, '.pgpass'), mode)
  giveToTestUser(join(home, '.pgpass'))
}

const escaped = PASSWORD.replace(/[\\:]/g, '\\$&')

describe('the password', () => {
  test.each(['bk', 'bk_md5', 'bk_clear'])(
    'of %s is that of the first matching line of the password file',
    async (user) => {
      passwordFile(`other:*:*:*:wrong\n${site.cluster.socketDir}:*:*:${user}:${escaped}\n*:*:*:*:wrong\n`)
      expect(await connect({ user })).toBe(user)
      passwordFile(`*:*:*:*:wrong\n*:*:*:*:${escaped}\n`)
      expect(await refusal({ user })).toMatch(/^\[56\].*password authentication failed/s)
    },
  )
  test('of a line for localhost is used if no socket directory is configured', async () => {
    passwordFile(`localhost:*:*:*:${escaped}\n`)
    const found = { socketPath: undefined, dataDirectory: site.cluster.dataDir } as unknown as Given
    expect(await connect({ ...found, user: 'bk' })).toBe('bk')
    expect(await refusal({ user: 'bk' })).toMatch(/no password supplied/)
  })
  test('of PGPASSWORD has precedence over the file', async () => {
    passwordFile('*:*:*:*:wrong\n')
    expect(await connect({ user: 'bk', env: { PGPASSWORD: PASSWORD } })).toBe('bk')
  })
  test('that is missing is reported as missing, with a hint', async () => {
    passwordFile('\n')
    expect(await refusal({ user: 'bk' })).toMatch(/^\[56\].*: no password supplied\n.*add a line to ~\/\.pgpass/s)
    passwordFile(`*:*:*:*:${escaped}\n`, 0o644)
    expect(await refusal({ user: 'bk' })).toMatch(/no password supplied\npassword file '.*' was ignored.*chmod 0600/)
  })
  test('is never sent by a method that PGREQUIREAUTH does not accept', async () => {
    passwordFile(`*:*:*:*:${escaped}\n`)
    for (const [user, method] of [
      ['bk', 'scram-sha-256'],
      ['bk_md5', 'md5'],
      ['bk_clear', 'password'],
    ] as const) {
      expect(await connect({ user, env: { PGREQUIREAUTH: method } })).toBe(user)
      expect(await refusal({ user, env: { PGREQUIREAUTH: `!${method}` } })).toContain(
        `authentication method requirement '!${method}' failed: server requested ${method} authentication`,
      )
    }
    const trusted = { user: site.cluster.user }
    expect(await connect({ ...trusted, env: { PGREQUIREAUTH: 'none' } })).toBe(site.cluster.user)
    expect(await refusal({ ...trusted, env: { PGREQUIREAUTH: 'md5' } })).toContain('did not complete authentication')
  })
})

describe('variables of libpq', () => {
  const plain = () => ({ user: site.cluster.user })

  test.each([
    { PGSSLMODE: 'require' },
    { PGSSLMODE: 'verify-full', PGSSLNEGOTIATION: 'direct', PGSSLROOTCERT: '/nonexistent' },
    { PGHOST: '192.0.2.1', PGHOSTADDR: '192.0.2.1', PGPORT: '1', PGDATABASE: 'nope' },
    { PGCLIENTENCODING: 'SQL_ASCII', PGDATESTYLE: 'German', PGTZ: 'Asia/Kathmandu' },
    { PGOPTIONS: '-c datestyle=German -c statement_timeout=1' },
    { PGREQUIREPEER: testUser.name },
    { PGTARGETSESSIONATTRS: 'primary' },
    { PGTARGETSESSIONATTRS: 'read-write' },
  ])('%j do not prevent a connection', async (env) => {
    expect(await connect({ ...plain(), env })).toBe(site.cluster.user)
  })
  test.each([
    [{ PGREQUIREPEER: 'nobody_here' }, /requirepeer \(PGREQUIREPEER\) specifies 'nobody_here'/],
    [{ PGTARGETSESSIONATTRS: 'standby' }, /the server is a primary, but .* is 'standby'/],
    [{ PGTARGETSESSIONATTRS: 'read-only' }, /the server is a primary, but .* is 'read-only'/],
    [{ PGTARGETSESSIONATTRS: 'x' }, /invalid target_session_attrs .* 'x'/],
    [{ PGSERVICE: 'nope' }, /definition of service 'nope' not found/],
  ])('%j are respected: the connection is refused', async (env, message) => {
    expect(await refusal({ ...plain(), env })).toMatch(message)
  })
  test('set the role: the option has precedence, then the service, then PGUSER', async () => {
    writeFileSync(join(home, '.pg_service.conf'), '[bk]\nuser=bk_md5\nport=1\n')
    const env = { PGUSER: 'bk', PGPASSWORD: PASSWORD }
    expect(await connect({ env })).toBe('bk')
    expect(await connect({ env: { ...env, PGSERVICE: 'bk' } })).toBe('bk_md5')
    expect(await connect({ ...plain(), env: { ...env, PGSERVICE: 'bk' } })).toBe(site.cluster.user)
  })
})

test('a command uses the password file, and prints nothing that cron would mail', async () => {
  passwordFile(`*:*:*:*:${escaped}\n`)
  const result = await site.pgts(['--pg1-user=bk', 'stanza-create'], { env: { HOME: home, PGSSLMODE: 'require' } })
  expect(result).toMatchObject({ code: 0, stderr: '' })
  passwordFile('\n')
  const refused = await site.pgts(['--pg1-user=bk', 'check'], { env: { HOME: home } })
  expect(refused.code).toBe(27)
  expect(refused.stdout + refused.stderr).toMatch(/no password supplied/)
})
