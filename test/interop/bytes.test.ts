import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { allProcesses } from '../support/processes/processes.ts'
import { PGBACKREST } from '../support/processes/programs.ts'
import {
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  runAs,
  serverBinaries,
  testUser,
} from '../support/postgres/postgres.ts'
import { until } from '../support/until.ts'

/**
 * No paths, passphrase, stanza section, arguments and variables here are UTF-8. Commands run in a shell script,
 * because neither arguments nor variables of Node can contain such bytes.
 */
const latin1 = (text: string) => Buffer.from(text, 'latin1')
const dir = makeTestDir('bytes')
const place = `${dir}/d\xe4t\xe9n`
const config = `${place}/pgbackrest-c\xf6nf`
const bin = serverBinaries(15)
mkdirSync(latin1(place))
for (const name of ['repo', 'log', 'lock', 'spool']) mkdirSync(latin1(`${place}/${name}`))
mkdirSync(join(dir, 'socket'))

writeFileSync(
  latin1(config),
  latin1(`[global]
repo1-path=${place}/repo
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=gr\xfc\xdfe\xa0
repo1-retention-full=9
log-path=${place}/log
lock-path=${place}/lock
spool-path=${place}/spool
start-fast=y
archive-timeout=60
archive-async=y
log-level-console=warn
[main]
pg1-path=${place}/pg
pg1-socket-path=${dir}/socket
pg1-user=postgres
`),
)
giveToTestUser(dir)
chmodSync(latin1(config), 0o600)

let scripts = 0
/** Run a shell script whose text is latin1: one character is one byte. */
async function sh(text: string): Promise<{ code: number | null; output: string }> {
  const script = join(dir, `script${scripts++}`)
  writeFileSync(script, latin1(`set -e\nPGTS='${pgtsProgram()} --stanza=main'\n${text}\n`))
  const { code, stdout, stderr } = await runAs(testUser, '/bin/sh', [script], { cwd: dir, deadlineMs: 120_000 })
  return { code, output: stdout + stderr }
}
async function ok(text: string): Promise<string> {
  const { code, output } = await sh(text)
  expect(output + (code === 0 ? '' : `\nexit code ${code}`)).not.toMatch(/exit code \d+$/)
  return output
}

const server = (name: string, action: string) =>
  `${bin}/pg_ctl -D '${place}/${name}' -l '${place}/${name}.log' -w -m immediate ${action} >/dev/null`

afterAll(() => sh(`${server('pg', 'stop')} || true\n${server('r1', 'stop')} || true`))

test(
  'a server whose paths are not UTF-8 is archived and backed up by both programs',
  { timeout: 120_000 },
  async () => {
    await ok(`${bin}/initdb -D '${place}/pg' -U postgres -k -N -A trust -E UTF8 --locale=C --wal-segsize=1 >/dev/null
cat >>'${place}/pg/postgresql.conf' <<'END'
listen_addresses=''
unix_socket_directories='${dir}/socket'
fsync=off
archive_mode=on
archive_command='${pgtsProgram()} "--config=${config}" --stanza=main archive-push %p'
END
${server('pg', 'start')}`)
    // The repository is created by one program and used by the other.
    await ok(`'${PGBACKREST}' '--config=${config}' --stanza=main stanza-create`)
    await ok(`$PGTS '--config=${config}' check`)
    await ok(`$PGTS '--config=${config}' backup`)
    await ok(`'${PGBACKREST}' '--config=${config}' --stanza=main --type=full backup`)
    const info = await ok(`'${PGBACKREST}' '--config=${config}' --stanza=main info`)
    expect(info.match(/full backup: /g)).toHaveLength(2)
    expect(await ok(`$PGTS '--config=${config}' info`)).toContain('status: ok')

    // The background process wrote its files below the same directories, and read options from arguments and variables.
    const names = readdirSync(latin1(place), { encoding: 'buffer' }).map((name) => name.toString('latin1'))
    expect(names.sort()).toEqual(['lock', 'log', 'pg', 'pg.log', 'pgbackrest-c\xf6nf', 'repo', 'spool'])
    expect(
      readdirSync(dir, { encoding: 'latin1' })
        .filter((name) => !/^script/.test(name))
        .sort(),
    ).toEqual(['d\xe4t\xe9n', 'socket'])
    expect(readdirSync(latin1(`${place}/log`))).toContain('main-archive-push-async.log')
  },
)

describe('a backup of a server whose paths are not UTF-8 is restored', { timeout: 120_000 }, () => {
  test('by pgbackrest and by pgts with the same files', async () => {
    await ok(`${server('pg', 'stop')}`)
    // restore of pgbackrest removes the spool, and fails if a file is removed at the same time.
    const isAsync = (word: string) => word === 'archive-push:async'
    const processes = () => allProcesses().filter(({ args }) => args.some((word) => word.includes(dir)))
    await until('the end of the background process', () => !processes().some(({ args }) => args.some(isAsync)))
    await ok(`'${PGBACKREST}' '--config=${config}' --stanza=main '--pg1-path=${place}/r1' --type=immediate restore`)
    await ok(`$PGTS '--config=${config}' '--pg1-path=${place}/r2' --type=immediate --archive-mode=off restore`)
    await ok(`cd '${place}'; diff -r -x '*.auto.conf' -x backup.manifest -x pg_control -x pgts.copy r1 r2`)
  })
  test('with passphrase and paths in variables, and the server fetches its WAL', async () => {
    await ok(`rm -rf '${place}/r1'
export PGTS_REPO1_PATH='${place}/repo' PGTS_REPO1_CIPHER_TYPE=aes-256-cbc PGTS_LOCK_PATH='${place}/lock'
export PGTS_REPO1_CIPHER_PASS='gr\xfc\xdfe\xa0' PGTS_SPOOL_PATH='${place}/spool' PGTS_LOG_PATH='${place}/log' PGTS_ARCHIVE_ASYNC=y
$PGTS --no-config '--pg1-path=${place}/r1' --archive-mode=off restore
${server('r1', 'start')}`)
    const recovered = 'archive recovery complete'
    await ok(`for i in $(seq 600); do grep -q '${recovered}' '${place}/r1.log' && break; sleep 0.1; done`)
    expect(await ok(`cat '${place}/r1.log'`)).toContain(recovered)
    expect(await ok(`ls '${place}/log'`)).toContain('main-archive-get-async.log')
  })
})

test('a passphrase with other bytes is a wrong passphrase', async () => {
  const { code, output } = await sh(`export PGTS_REPO1_CIPHER_PASS='gr\xfc\xdfe'
sed '/cipher-pass/d' '${config}' >'${place}/other.conf'
$PGTS '--config=${place}/other.conf' repo-get archive/main/archive.info`)
  expect(code).toBe(95)
  expect(output).toMatch(/passphrase/)
})

test('a pgts.yaml that is not UTF-8 is refused with the line', async () => {
  const { code, output } = await sh(`printf 'global:\\n  log-path: /tmp/\\344\\n' >'${place}/c.yaml'
$PGTS '--config=${place}/c.yaml' info`)
  expect(code).toBe(29)
  expect(output).toMatch(/line 2:18: this is not UTF-8/)
})
