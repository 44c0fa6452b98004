import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { archiveSegments } from '../../support/hosts/archive-segments.ts'
import { type IssuedCertificate, TestAuthority } from '../../support/hosts/certificates.ts'
import { TlsServer } from '../../support/hosts/tls-server.ts'
import { dataChecksum, startCluster } from '../../support/postgres/postgres.ts'
import { isGone, signal } from '../../support/processes/processes.ts'
import { giveToTestUser, makeTestDir, runAs, testUser, type RunResult } from '../../support/processes/test-user.ts'
import { expectRefusal } from '../../support/refusal.ts'
import { aSite, type Site } from '../../support/sites/site.ts'
import { until } from '../../support/until.ts'

/** A cluster whose repository is served by `pgts server`; the passphrase is only there. */
const repo = makeTestDir('tls-repo')
const CIPHER = ['repo1-cipher-type=aes-256-cbc', 'repo1-cipher-pass=passphrase-of-the-test']
let server: TlsServer
let site: Site

beforeAll(async () => {
  server = await TlsServer.start({
    auth: ['db1=main', 'db2=other'],
    global: [`repo1-path=${repo}`, ...CIPHER],
  })
  const client = server.authority.issue('db1', { subject: '/CN=db1' })
  site = await aSite({ options: { ...server.clientOptions('repo1-host', client), 'process-max': '2' } })
  await site.pgtsOk('stanza-create')
})
afterAll(async () => {
  await site[Symbol.asyncDispose]()
  await server[Symbol.asyncDispose]()
})

const archive = (count: number) => archiveSegments(site.cluster, repo, count)

/** `pgts` with the certificate of another client. */
function runWith({ certFile, keyFile }: IssuedCertificate, ...args: string[]): Promise<RunResult> {
  return site.pgts([`--repo1-host-cert-file=${certFile}`, `--repo1-host-key-file=${keyFile}`, ...args])
}

test('a backup by TLS is stored at the server, encrypted, and restores into a running cluster', async () => {
  await site.cluster.query('create table t as select generate_series(1, 1000) as n')
  await site.pgtsOk('--type=full', 'backup')
  expect(readdirSync(join(repo, 'backup/main')).some((name) => /^\d{8}-\d{6}F$/.test(name))).toBe(true)
  expect(existsSync(join(site.dir, 'repo/backup'))).toBe(false)
  await site.pgtsOk('check')
  await site.pgtsOk('verify')
  const target = join(site.dir, 'restored')
  mkdirSync(target, { mode: 0o700 })
  giveToTestUser(target)
  await site.pgtsOk(`--pg1-path=${target}`, 'restore')
  expect(existsSync(join(target, 'global/pg_control'))).toBe(true)
  expect(server.log()).toContain("INFO: connection from 127.0.0.1: client 'db1' runs backup on repo1 of stanza 'main'")
})

test.each([
  ['has no rights', { subject: '/CN=db3' }, 105, "client 'db3' is not allowed to use stanza 'main'", 'tls-server-auth'],
  ['has rights on another stanza', { subject: '/CN=db2' }, 105, "client 'db2' is not allowed", 'db2=main'],
  ['has expired', { subject: '/CN=db1', days: -1 }, 95, 'is not valid: it has expired', 'issue a certificate'],
  ['has two names', { subject: '/CN=db1/CN=db2' }, 95, 'exactly one common name', 'issue a certificate'],
])(
  'a client whose certificate %s is refused, with the reason in both logs',
  async (what, request, code, says, hint) => {
    const before = server.log().length
    const result = await runWith(server.authority.issue(what.replaceAll(' ', '-'), request), 'repo-ls')
    expectRefusal(result, { code, says: [says, "raised from remote-0 tls protocol on '127.0.0.1'"], hint })
    // The server logs what the process of the connection reports.
    const logged = () => server.log().slice(before)
    await until('the line', () => logged().includes('refused the connection from 127.0.0.1'), { details: logged })
    expect(logged()).toContain(says)
  },
)

test('a client of another authority is refused with [095]', async () => {
  const other = new TestAuthority(join(server.dir, 'other'), 'another authority')
  const result = await runWith(other.issue('db1', { subject: '/CN=db1' }), 'repo-ls')
  expectRefusal(result, { code: 95, says: ['its authority is not trusted'], hint: 'tls-server-ca-file' })
})

test('a client sees its stanza, and does not reach the files of another one', async () => {
  const [stanza] = JSON.parse((await site.pgtsOk('--output=json', 'info')).stdout) as { status: { code: number } }[]
  expect([0, 2]).toContain(stanza!.status.code)
  const result = await site.pgts(['repo-ls', 'archive/other'])
  expectRefusal(result, { code: 105, says: ['is denied'], hint: /./ })
})

test('a server whose certificate has expired is not used', async () => {
  server.issueServer({ days: -1 })
  await server.reload()
  expectRefusal(await site.pgts(['repo-ls']), {
    code: 95,
    says: ['certificate has expired'],
    hint: 'tls-server-cert-file',
  })
  expect(server.log()).toMatch(/WARN: the certificate .*server\.crt has expired/)
  server.issueServer()
  await server.reload()
  await site.pgtsOk('repo-ls', 'backup/main')
})

test('rights that were taken away apply after a reload', async () => {
  server.configure({ auth: ['db1=other'] })
  await server.reload()
  expectRefusal(await site.pgts(['repo-ls']), { code: 105, says: ["stanza 'main'"], hint: 'db1=main' })
  server.configure({ auth: ['db1=*'] })
  await server.reload()
  await site.pgtsOk('repo-ls')
  server.configure()
  await server.reload()
})

test('a reload closes the connection that archiving keeps, and archiving continues', async () => {
  await site.pgtsOk('check')
  await until('a kept connection', () => server.processes().length > 1)
  await server.reload()
  await until('the spare process alone', () => server.processes().length === 1)
  await site.pgtsOk('check')
})

test(
  'archives and fetches in the background, after a reload and after the end of the server, too',
  { timeout: 120_000 },
  async () => {
    const before = readFileSync(site.config, 'utf8')
    writeFileSync(site.config, before.replace('[global]\n', '[global]\narchive-async=y\n'))
    const logged = server.log().length
    try {
      // A background process keeps its connections for the segments that follow.
      await until('the same processes for two segments', async () => {
        await archive(1)
        const before = server.processes()
        await archive(1)
        // One is the spare process.
        return before.length > 2 && before.join() === server.processes().join()
      })
      await server.reload()
      await archive(2)
      server.kill('SIGTERM')
      await server.ended()
      await server.run()
      const last = await archive(2)
      const target = join(site.dir, 'fetched')
      await site.pgtsOk('archive-get', last, target)
      const stored = await site.pgtsOk('--output=json', 'repo-ls', `archive/main/15-1/${last.slice(0, 16)}`)
      expect(stored.stdout).toContain(`${last}-${createHash('sha1').update(readFileSync(target)).digest('hex')}`)
    } finally {
      writeFileSync(site.config, before)
    }
    expect(server.log().slice(logged)).toContain("client 'db1' runs archive-get on repo1")
  },
)

test('a client has no influence on the configuration that the server uses', async () => {
  const options = ['--repo1-path=/nowhere', '--log-level-file=off']
  const { stdout } = await site.pgtsOk(...options, 'repo-ls', 'archive/main')
  expect(stdout).toContain('archive.info')
})

test('the repository host checks and backs up the cluster by TLS, with rights on its stanza only', async () => {
  const options = Object.entries(site.cluster.pgOptions()).map(([name, value]) => `${name}=${value}`)
  await using clusterServer = await TlsServer.start({ auth: ['repo=main'], sections: ['[main]', ...options] })
  const client = clusterServer.authority.issue('repo', { subject: '/CN=repo' })
  const host = Object.entries(clusterServer.clientOptions('pg1-host', client)).map(
    ([name, value]) => `${name}=${value}`,
  )
  const here = [`repo1-path=${repo}`, ...CIPHER, `lock-path=${site.dir}/other-lock`, `log-path=${site.dir}/log`]
  const config = join(site.dir, 'repository-host.conf')
  writeFileSync(
    config,
    ['[global]', ...here, '[main]', ...options, ...host, '[other]', ...options, ...host, ''].join('\n'),
  )
  giveToTestUser(config)
  const run = (...args: string[]) => runAs(testUser, site.program, [`--config=${config}`, ...args], { cwd: site.dir })
  const check = await run('--stanza=main', '--log-level-console=info', 'check')
  expect(check.stdout).toContain("successfully archived to '")
  expect(check.code).toBe(0)
  expect((await run('--stanza=main', 'stanza-upgrade')).code).toBe(0)
  expect(clusterServer.log()).toContain("client 'repo' runs check on pg1 of stanza 'main'")

  const data = await dataChecksum(site.cluster)
  const backup = await run('--stanza=main', '--type=full', '--start-fast', '--process-max=2', 'backup')
  expect(backup.code, backup.stdout).toBe(0)
  expect(clusterServer.log()).toContain("client 'repo' runs backup on pg1 of stanza 'main'")
  const dir = join(makeTestDir('restored'), 'data')
  await site.pgtsOk(`--pg1-path=${dir}`, '--type=immediate', '--target-action=promote', 'restore')
  await using restored = await startCluster({ dir, conf: { archive_mode: 'off' } })
  await restored.untilPrimary()
  expect(await dataChecksum(restored)).toEqual(data)

  const refused = await run('--stanza=other', 'stanza-create')
  expect(refused.stdout).toContain("client 'repo' is not allowed to use stanza 'other'")
  expect(refused.code).not.toBe(0)
})

/** Calls back when the server serves a backup that has just begun. */
async function duringBackup(act: (backup: number) => Promise<void>): Promise<RunResult> {
  const before = server.log().length
  let pid = 0
  const running = site.pgts(['--type=full', 'backup'], { onStart: (started) => (pid = started) })
  await until('the connection', () => server.log().slice(before).includes('runs backup'))
  await act(pid)
  return running
}

function withKilledServer(): void {
  test('a backup survives the SIGKILL of the server, whose successor listens on the same port', async () => {
    const result = await duringBackup(async (backup) => {
      signal(backup, 'SIGSTOP')
      server.kill('SIGKILL')
      await server.ended()
      await server.run()
      signal(backup, 'SIGCONT')
    })
    expect(result.code, result.stdout).toBe(0)
  })

  test('a backup ends when the server is stopped, releases its locks, and the next one works', async () => {
    const result = await duringBackup(async () => {
      const serving = server.processes()
      server.kill('SIGTERM')
      await server.ended()
      expect(serving.every(isGone)).toBe(true)
      await server.run()
    })
    expect([49, 63]).toContain(result.code)
    expect(server.log()).toContain('WARN: ending the connection from 127.0.0.1')
    await site.pgtsOk('--type=full', 'backup')
  })
}

if (process.env['PGTS_TEST_HOSTS'] === 'all') withKilledServer()
