import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { COMPLETIONS } from '../../scripts/package/man.ts'
import { isInstalled, makeTestDir, projectRoot, serverBinaries } from '../support/postgres/postgres.ts'
import { CleanRoot, execute } from '../support/processes/clean-root.ts'
import { shellBlocks } from '../support/run/doc-blocks.ts'
import { until } from '../support/until.ts'

// The .deb and the tarball on a system without Node, npm and compiler, made by debootstrap. It takes minutes, the network and root:
// PGTS_TEST_PACKAGES=all runs it.
const wanted = process.env['PGTS_TEST_PACKAGES'] === 'all'
let clean: CleanRoot
let root: string
const packages = makeTestDir('packages')

const inRoot = (script: string, user?: string) => clean.run(script, user)
const start = (script: string, user?: string) => clean.start(script, user)

const POSTGRES = 'LD_LIBRARY_PATH=/opt/postgresql/lib /opt/postgresql/bin'

/** A later build of the same package, in which the file with all modules has another name. */
function laterBuild(deb: string): string {
  const tree = join(makeTestDir('later'), 'tree')
  execute('dpkg-deb', '-R', deb, tree)
  const control = join(tree, 'DEBIAN/control')
  writeFileSync(
    control,
    readFileSync(control, 'utf8').replace(/^Version: .*$/m, (line) => `${line}+later`),
  )
  const library = join(tree, 'usr/lib/pgts/package')
  writeFileSync(join(library, 'build-id'), `${readFileSync(join(library, 'build-id'), 'utf8').trim()}-later\n`)
  const program = join(library, 'dist/cli')
  // The file that a running process of the earlier build reads under its old name.
  renameSync(join(program, 'program.packed'), join(program, 'later.packed'))
  for (const name of ['main.cjs', 'worker.cjs']) {
    const path = join(program, name)
    writeFileSync(path, readFileSync(path, 'utf8').replaceAll('program.packed', 'later.packed'))
  }
  const path = join(packages, 'later.deb')
  execute('dpkg-deb', '--root-owner-group', '-Zgzip', '-b', tree, path)
  return path
}

const install = (deb: string): Promise<string> => {
  cpSync(deb, join(root, 'tmp/package.deb'))
  return inRoot('dpkg -i /tmp/package.deb')
}

beforeAll(async () => {
  if (!wanted) return
  for (const program of ['dpkg-deb', 'lintian'])
    if (!isInstalled(program)) throw new Error(`PGTS_TEST_PACKAGES=all requires ${program}`)
  execute('node', 'scripts/run.mjs', 'scripts/package.ts', `--out=${packages}`)
  clean = new CleanRoot()
  root = clean.path
  cpSync(join(serverBinaries(17), '..'), join(root, 'opt/postgresql'), { recursive: true, dereference: true })
  expect((await start('command -v node npm cc gcc make python3').done).text).toBe('')
}, 900_000)

afterAll(() => clean?.[Symbol.dispose]())

test('every timer has its service, a valid calendar where systemd can check it, and the maintainer scripts are valid sh', () => {
  const units = join(projectRoot, 'scripts/package/files/systemd')
  const timers = readdirSync(units).filter((file) => file.endsWith('.timer'))
  expect(timers).toHaveLength(6)
  for (const timer of timers) {
    const calendar = /^OnCalendar=(.*)$/m.exec(readFileSync(join(units, timer), 'utf8'))![1]!
    if (isInstalled('systemd-analyze')) execute('systemd-analyze', 'calendar', calendar)
    expect(existsSync(join(units, timer.replace('.timer', '.service')))).toBe(true)
  }
  const scripts = join(projectRoot, 'scripts/package/debian')
  for (const name of ['pgts/postinst', 'pgts/postrm', 'pgts-pgbackrest/postinst'])
    execute('dash', '-n', join(scripts, name))
})

function onCleanDebian(): void {
  const [deb, name] = ['pgts_', 'pgts-pgbackrest_'].map(
    (start) => () =>
      join(
        packages,
        readdirSync(packages).find((file) => file.startsWith(start) && file.endsWith('.deb'))!,
      ),
  ) as [() => string, () => string]

  test('lintian finds no errors', () => {
    const found = spawnSync('lintian', ['--fail-on', 'error', deb(), name()], { encoding: 'utf8' })
    expect(found.stdout.match(/^E: .*$/gm) ?? []).toEqual([])
    expect(found.status).toBe(0)
  }, 300_000)

  test('the .deb is installed, and its configuration example leads to a backup of a real server', async () => {
    for (const file of [deb(), `${deb()}.sha256`]) cpSync(file, join(root, 'tmp', basename(file)))
    writeFileSync(join(root, 'etc/apt/apt.conf.d/test'), 'APT::Install-Recommends "0";\n')
    await inRoot(shellBlocks('docs/guide/install.md', '.deb')[0]!)
    expect(await inRoot('pgts version')).toMatch(/^pgts [0-9.]+\n$/)
    for (const path of [...Object.values(COMPLETIONS), 'man/man1/pgts.1.gz', 'man/man1/pgts-restore.1.gz'])
      expect(existsSync(join(root, 'usr/share', path)), path).toBe(true)
    await inRoot(
      `mkdir /tmp/pg && ${POSTGRES}/initdb -D /tmp/pg/data -U postgres
       cat >>/tmp/pg/data/postgresql.conf <<END
port=5544
listen_addresses=''
unix_socket_directories='/tmp'
archive_mode=on
archive_command='/usr/bin/pgts --stanza=main archive-push %p'
END
       ${POSTGRES}/pg_ctl -D /tmp/pg/data -l /tmp/pg/log -w start`,
      'postgres',
    )
    await inRoot(`sed -i 's#/var/lib/postgresql/17/main, port: 5432#/tmp/pg/data, port: 5544, socket-path: /tmp#' /etc/pgts/pgts.yaml
      echo '    archive-push: { archive-async: true }' >>/etc/pgts/pgts.yaml`)
    for (const command of ['stanza-create', 'check', '--type=full backup', '--output=text verify'])
      await inRoot(`pgts --stanza=main ${command}`, 'postgres')
    expect(await inRoot('pgts info', 'postgres')).toMatch(/status: ok[\s\S]*full backup: /)
  }, 180_000)

  test('an upgrade leaves a running backup and the background process their files', async () => {
    const before = readlinkSync(join(root, 'usr/lib/pgts/current'))
    const client = new Client({ host: join(root, 'tmp'), port: 5544, user: 'postgres', database: 'postgres' })
    await client.connect()
    await client.query('create table big as select g, repeat(md5(g::text), 20) from generate_series(1, 300000) g')
    await client.end()
    const backup = start('pgts --stanza=main --type=full --compress-level=15 --process-max=1 backup', 'postgres')
    await until('the first files of the backup', () => /pg_data/.test(copied()))
    await install(laterBuild(deb()))
    expect(readlinkSync(join(root, 'usr/lib/pgts/current'))).not.toBe(before)
    expect(existsSync(join(root, 'usr/lib/pgts', before, 'bin/node'))).toBe(true)
    expect((await backup.done).code, 'the backup of the previous build').toBe(0)
    await inRoot('pgts --stanza=main check', 'postgres')
    await inRoot('pgts --stanza=main --type=incr backup', 'postgres')
  }, 300_000)

  /** Names of an unfinished backup's files. */
  function copied(): string {
    const backups = join(root, 'var/lib/pgts/backup/main')
    if (!existsSync(backups)) return ''
    return readdirSync(backups, { recursive: true, encoding: 'utf8' })
      .filter((file) => !file.includes('latest'))
      .join('\n')
  }

  test('pgts-pgbackrest provides the name', async () => {
    await install(name())
    expect(await inRoot('pgbackrest version')).toMatch(/^pgBackRest [0-9.]+\n$/)
    expect(await inRoot('dpkg-query -W -f "\\${Provides} \\${Conflicts}" pgts-pgbackrest')).toBe(
      'pgbackrest pgbackrest',
    )
    expect(existsSync(join(root, 'etc/pgbackrest.conf'))).toBe(true)
  }, 60_000)

  test('a removal leaves repositories and configuration, a purge the repositories', async () => {
    await inRoot(`${POSTGRES}/pg_ctl -D /tmp/pg/data -m fast -w stop`, 'postgres')
    await inRoot('dpkg -r pgts-pgbackrest pgts')
    expect(existsSync(join(root, 'usr/bin/pgts'))).toBe(false)
    expect(existsSync(join(root, 'etc/pgts/pgts.yaml'))).toBe(true)
    await inRoot('dpkg -P pgts-pgbackrest pgts')
    expect(existsSync(join(root, 'var/lib/pgts/backup/main/backup.info'))).toBe(true)
    expect(existsSync(join(root, 'etc/pgts/pgts.yaml'))).toBe(true)
  }, 120_000)

  test('the tarball runs from any directory', async () => {
    const tarball = readdirSync(packages).find((file) => file.endsWith('.tar.xz'))!
    for (const file of [tarball, `${tarball}.sha256`]) cpSync(join(packages, file), join(root, 'tmp', file))
    await inRoot(shellBlocks('docs/guide/install.md', 'Tarball')[0]!)
    const info = '--stanza=main --repo1-path=/var/lib/pgts info'
    expect(await inRoot(`/usr/local/bin/pgts ${info}`, 'postgres')).toMatch(/status: ok/)
    renameSync(join(root, 'opt/pgts-0.1.0'), join(root, 'srv/any where'))
    expect(await inRoot(`"/srv/any where/bin/pgts" ${info}`, 'postgres')).toMatch(/status: ok/)
  }, 120_000)
}

if (wanted) describe('on a clean Debian', onCleanDebian)
