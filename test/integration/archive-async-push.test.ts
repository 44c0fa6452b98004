import { execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { readPushStatus } from '../../src/core/archive/status/push-status.ts'
import { spoolPaths, type SpoolPaths } from '../../src/core/archive/spool/spool-files.ts'
import { livingPid } from '../../src/core/archive/spool/spool-lock.ts'
import { atEnd, giveToTestUser, makeTestDir } from '../support/postgres/postgres.ts'
import { aSite, type Site, type SiteOptions } from '../support/sites/site.ts'
import { smallDisk } from '../support/faults/small-disk.ts'
import { isGone } from '../support/processes/processes.ts'
import { unarchivedSegment, untilArchived as untilNothingWaits } from '../support/sites/replica.ts'

async function until(what: string, test: () => boolean | Promise<boolean>, site?: Site): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await sleep(20)) if (await test()) return
  const details = site === undefined ? '' : `\n${asyncLog(site)}\n${readFileSync(site.cluster.logFile, 'utf8')}`
  throw new Error(`timeout while waiting for ${what}${details}`)
}

async function anAsyncSite(options: SiteOptions = {}): Promise<Site> {
  const site = await withoutStanza(options)
  await site.pgtsOk('stanza-create')
  return site
}

async function withoutStanza(options: SiteOptions = {}): Promise<Site> {
  const site = await aSite({
    walSegsizeMb: 1,
    ...options,
    options: { 'archive-async': 'y', 'process-max': '2', 'compress-type': 'none', ...options.options },
  })
  // Processes of a failed test must not remain.
  atEnd(() => {
    const pid = livingPid(spoolOf(site), 'push')
    if (pid !== undefined) process.kill(pid, 'SIGKILL')
  })
  return site
}

function spoolOf(site: Site): SpoolPaths {
  return spoolPaths(join(site.dir, 'spool'), 'main')
}

function asyncLog(site: Site): string {
  const path = join(site.dir, 'log', 'main-archive-push-async.log')
  return existsSync(path) ? readFileSync(path, 'utf8') : '(no log)'
}

function archived(site: Site, repo = site.repo): string[] {
  const path = join(repo, 'archive', 'main', '15-1')
  if (!existsSync(path)) return []
  return (
    readdirSync(path, { recursive: true, encoding: 'utf8' })
      // A killed process leaves a temporary file.
      .map((name) => /([0-9A-F]{24})-[0-9a-f]{40}(?:\.(?:gz|lz4|zst|bz2))?$/.exec(name)?.[1])
      .filter((name) => name !== undefined)
      .sort()
  )
}

function waiting(site: Site): string[] {
  return readdirSync(join(site.cluster.dataDir, 'pg_wal', 'archive_status')).filter((name) => name.endsWith('.ready'))
}

/** Write and switch this number of times; returns the names of the segments. */
async function segments(site: Site, count: number): Promise<string[]> {
  const names: string[] = []
  for (let i = 0; i < count; i++) {
    const [row] = await site.cluster.query(
      `select pg_walfile_name(pg_logical_emit_message(true, 'test', repeat('x', 1000))) as name`,
    )
    await site.cluster.query('select pg_switch_wal()')
    names.push(String(row!['name']))
  }
  return names
}

async function untilArchived(site: Site, names: readonly string[]): Promise<void> {
  await until('all segments in the archive', () => names.every((name) => archived(site).includes(name)), site)
  // Wakes an archiver that has failed three times.
  await untilNothingWaits(site.cluster)
  await until('PostgreSQL to know', () => waiting(site).length === 0, site)
  // Each segment once, whatever its checksum.
  expect(new Set(archived(site)).size).toBe(archived(site).length)
}

function lastSegment(site: Site): string {
  return readdirSync(join(site.cluster.dataDir, 'pg_wal', 'archive_status'))
    .filter((name) => /^[0-9A-F]{24}\.ready$/.test(name))
    .sort()[0]!
    .slice(0, 24)
}

test('a server archives through the background process, and pgbackrest verifies the archive', async () => {
  await using site = await anAsyncSite()
  await untilArchived(site, await segments(site, 12))
  const spool = spoolOf(site)
  await until('an empty spool', () => readdirSync(spool.out).length === 0, site)
  await until('the status', () => readPushStatus(spool)?.state === 'idle', site)
  expect(readPushStatus(spool)).toMatchObject({ queue: { files: 0 }, repositories: [{ key: 1 }] })
  expect(asyncLog(site)).toMatch(/push \d+ WAL file\(s\) to archive/)
  // It holds no lock while idle, so the other program can archive.
  await site.pgbackrestOk('check')
  await site.verifiedByPgbackrest()
})

test('a background process that is killed at any time loses no segment, and pgbackrest verifies the archive', async () => {
  await using site = await anAsyncSite()
  const spool = spoolOf(site)
  const names: string[] = []
  let kills = 0
  for (let round = 0; round < 8; round++) {
    names.push(...(await segments(site, 5)))
    await until('a background process', () => livingPid(spool, 'push') !== undefined, site)
    await sleep(round * 15)
    const pid = livingPid(spool, 'push')
    if (pid === undefined) continue
    process.kill(pid, 'SIGKILL')
    kills++
  }
  expect(kills).toBeGreaterThan(3)
  await untilArchived(site, names)
  await site.verifiedByPgbackrest()
})

test('an ok of another cluster or of an earlier file with the same name is ignored', async () => {
  await using site = await anAsyncSite({ conf: { archive_command: 'false' } })
  await segments(site, 2)
  const name = lastSegment(site)
  const spool = spoolOf(site)
  const push = (file: string) => site.pgts(['archive-push', `pg_wal/${file}`], { cwd: site.cluster.dataDir })
  // Written by another program: their cluster is unknown.
  for (const path of [spool.out, spool.in]) mkdirSync(path, { recursive: true })
  writeFileSync(join(spool.out, `${name}.ok`), '')
  writeFileSync(join(spool.out, 'global.error'), '47\nan error of long ago')
  writeFileSync(join(spool.in, name), 'a segment of another cluster')
  giveToTestUser(join(site.dir, 'spool'))
  expect(await push(name)).toMatchObject({ code: 0, stdout: '' })
  expect(archived(site)).toContain(name)
  expect(readdirSync(spool.in)).toEqual([])

  // The spool has the signature of this cluster, and no background process runs.
  process.kill(livingPid(spool, 'push')!, 'SIGKILL')
  await until('its end', () => livingPid(spool, 'push') === undefined)
  renameSync(
    join(site.cluster.dataDir, `pg_wal/archive_status/${name}.ready`),
    join(site.cluster.dataDir, `pg_wal/archive_status/${name}.done`),
  )
  const next = lastSegment(site)
  rmSync(join(spool.out, `${next}.ok`), { force: true })
  for (const file of archived(site).includes(next) ? [next] : [])
    execFileSync('sh', ['-c', `rm "$1"/archive/main/15-1/*/${file}-*`, 'sh', site.repo])
  writeFileSync(join(spool.out, `${next}.ok`), '')
  giveToTestUser(spool.out)
  expect(await push(next)).toMatchObject({ code: 0 })
  expect(archived(site)).toContain(next)
})

test('an .error names the repository, and renamed to .ok it skips the file with a warning', async () => {
  await using site = await anAsyncSite({ conf: { archive_command: 'false' } })
  await segments(site, 1)
  const name = lastSegment(site)
  const spool = spoolOf(site)
  const push = () => site.pgts(['archive-push', `pg_wal/${name}`], { cwd: site.cluster.dataDir })
  renameSync(join(site.repo, 'archive'), join(site.dir, 'archive'))
  const failed = await push()
  expect(failed).toMatchObject({ code: 55 })
  expect(failed.stdout).toMatch(/ERROR: \[055\]: repo1: .*archive\.info.*HINT: run stanza-create/s)
  expect(readFileSync(join(spool.out, `${name}.error`), 'utf8')).toMatch(/^55\nrepo1: /)
  expect(readPushStatus(spool)).toMatchObject({ lastFailure: { file: name, code: 55 } })

  renameSync(join(spool.out, `${name}.error`), join(spool.out, `${name}.ok`))
  const skipped = await push()
  expect(skipped).toMatchObject({ code: 0 })
  expect(skipped.stdout).toMatch(/WARN: .*skipped by the operator.*\[055\]/s)
  rmSync(join(spool.out, `${name}.ok`))

  // The background process retries without a call of archive-push.
  renameSync(join(site.dir, 'archive'), join(site.repo, 'archive'))
  await until('another try', () => archived(site).includes(name), site)
  expect(await push()).toMatchObject({ code: 0, stdout: '' })
})

test('an unusable spool does not stop archiving, whatever its fault', async () => {
  const disk = smallDisk('1m')
  await using site = await anAsyncSite(disk === undefined ? {} : { options: { 'spool-path': disk } })
  const spool = disk ?? join(site.dir, 'spool')
  const paths = spoolPaths(spool, 'main')
  const killBackground = async () => {
    const pid = livingPid(paths, 'push')
    if (pid === undefined) return
    process.kill(pid, 'SIGKILL')
    await until('its end', () => livingPid(paths, 'push') === undefined)
  }
  atEnd(() => void killBackground())
  const pushed = async (warning?: RegExp) => {
    const from = site.cluster.log().length
    const names = await segments(site, 2)
    await untilArchived(site, names)
    const lines =
      site.cluster
        .log()
        .slice(from)
        .match(/WARN: WAL file '.*' is pushed without the spool: .*/g) ?? []
    expect(lines).toHaveLength(warning === undefined ? 0 : names.length)
    for (const line of lines) expect(line).toMatch(warning!)
  }
  const fill = join(spool, 'fill')
  if (disk !== undefined) {
    // Full from the beginning.
    expect(() => writeFileSync(fill, Buffer.alloc(4 << 20))).toThrow('ENOSPC')
    await pushed(/ENOSPC/)
    rmSync(fill)
  }
  await pushed()
  await until('the background process', () => livingPid(paths, 'push') !== undefined, site)
  await killBackground()
  if (disk !== undefined) {
    // Full while no background process runs.
    expect(() => writeFileSync(fill, Buffer.alloc(4 << 20))).toThrow('ENOSPC')
    await pushed(/ENOSPC/)
    rmSync(fill)
    execFileSync('mount', ['-o', 'remount,ro', disk])
    await pushed(/EROFS/)
    execFileSync('mount', ['-o', 'remount,rw', disk])
    await pushed()
    await killBackground()
  }
  const mode = statSync(paths.out).mode
  chmodSync(paths.out, 0o500)
  await pushed(/EACCES/)
  chmodSync(paths.out, mode)
  await pushed()
  renameSync(paths.root, `${paths.root}.away`)
  writeFileSync(paths.root, '')
  await killBackground()
  await pushed(/ENOTDIR|EEXIST/)
}, 120_000)

test('with two repositories the error names the failing one, the other gets every segment, and the failing one catches up', async () => {
  const second = join(makeTestDir('second'), 'repo')
  await using site = await anAsyncSite({ options: { 'repo2-path': second } })
  await untilArchived(site, await segments(site, 2))
  renameSync(second, `${second}.away`)
  const names = await segments(site, 4)
  await until('all of it in repo1', () => names.every((name) => archived(site).includes(name)), site)
  const said = () => /ERROR: \[104\]: .*could not be stored in every repository:\s+repo2: /.test(site.cluster.log())
  await until('PostgreSQL to hear of it', said, site)
  expect(site.cluster.log()).not.toMatch(/^repo1: \[/m)
  expect(waiting(site).length).toBe(names.length)
  rmSync(second, { recursive: true, force: true })
  renameSync(`${second}.away`, second)
  await untilArchived(site, names)
  expect(archived(site, second)).toEqual(archived(site))
}, 120_000)

test('two concurrent calls for one segment succeed, and the segment is stored once', async () => {
  await using site = await anAsyncSite({ conf: { archive_command: 'false' } })
  await segments(site, 1)
  const name = lastSegment(site)
  const push = () => site.pgts(['archive-push', `pg_wal/${name}`], { cwd: site.cluster.dataDir })
  for (const result of await Promise.all([push(), push()])) expect(result).toMatchObject({ code: 0 })
  expect(archived(site)).toEqual([name])
})

test('a queue above archive-push-queue-max is dropped as a whole although a push hangs, after a warning', async () => {
  await using site = await anAsyncSite({
    conf: { archive_command: 'false' },
    options: { 'archive-push-queue-max': '8MiB', 'archive-timeout': '60s' },
  })
  using _lease = await holdLease(join(site.repo, 'archive', 'main', 'archive.info'))
  const names = await segments(site, 7)
  const first = lastSegment(site)
  const spool = spoolOf(site)
  const pushed = site.pgts(['archive-push', `pg_wal/${first}`], { cwd: site.cluster.dataDir })
  await until('a warning', () => /wait to be archived/.test(asyncLog(site)), site)
  await until('a push', () => (readPushStatus(spool)?.inHand.length ?? 0) > 0, site)
  names.push(...(await segments(site, 4)))
  const result = await pushed
  expect(result).toMatchObject({ code: 0 })
  expect(result.stdout).toContain(`WARN: dropped WAL file '${first}' because archive queue exceeded 8MiB`)
  for (const name of names) {
    expect(readFileSync(join(spool.out, `${name}.ok`), 'utf8')).toBe(
      `0\ndropped WAL file '${name}' because archive queue exceeded 8MiB`,
    )
  }

  // The process ends although its threads are blocked in the kernel.
  const pid = livingPid(spool, 'push')!
  process.kill(pid, 'SIGTERM')
  // It removes its pid file before it ends.
  await until('the end of the background process', () => isGone(pid), site)
  const status = execFileSync('sh', [
    '-c',
    'ps -eo stat,args | grep "[a]rchive-push:async" | grep -F "$1" || true',
    'sh',
    site.dir,
  ])
  expect(String(status)).toBe('')
})

test('stanza-create works while the background process waits for the stanza', { timeout: 90_000 }, async () => {
  await using site = await withoutStanza()
  const names = await segments(site, 2)
  await until('the background process', () => livingPid(spoolOf(site), 'push') !== undefined, site)
  await until('its failure', () => asyncLog(site).includes('could not push WAL file'), site)
  await until('stanza-create', async () => (await site.pgts(['stanza-create'])).code === 0, site)
  await site.cluster.query('select pg_reload_conf()')
  await until('the segments', () => names.every((name) => archived(site).includes(name)), site)
})

/**
 * A file lease (fcntl F_SETLEASE) of another process, which does not release it: opening the file hangs in the kernel, for 45
 * seconds by default, as on a file server that does not answer.
 */
async function holdLease(path: string): Promise<Disposable> {
  const program = `process.on('SIGIO', () => undefined)
    const fd = require('node:fs').openSync(process.argv[1], 'r+')
    const fcntl = require('koffi').load(null).func('int fcntl(int fd, int command, ...)')
    if (fcntl(fd, 1024, 'int', 1) !== 0) throw new Error('no lease')
    process.send('held'); process.on('disconnect', () => process.exit())`
  const holder = spawn(process.execPath, ['-e', program, path], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await new Promise<void>((resolve, reject) => {
    holder.once('message', () => resolve())
    holder.once('exit', (code) => reject(new Error(`the holder of the lease ended with ${code}`)))
  })
  return { [Symbol.dispose]: () => void holder.kill('SIGKILL') }
}

test('an empty backup history file, as in a snapshot of a volume, is archived with a warning and delays no segment', async () => {
  await using site = await anAsyncSite()
  await unarchivedSegment(site.cluster)
  const walPath = join(site.cluster.dataDir, 'pg_wal')
  const [first = ''] = await segments(site, 1)
  // It comes first in the queue: after its segment and before all later ones.
  const history = `${first}.00000028.backup`
  for (const path of [join(walPath, history), join(walPath, 'archive_status', `${history}.ready`)]) {
    writeFileSync(path, '')
    giveToTestUser(path)
  }
  const later = await segments(site, 3)
  await site.cluster.query('alter system reset archive_command')
  await site.cluster.query('select pg_reload_conf()')
  await untilArchived(site, [first, ...later])
  expect(readFileSync(join(site.repo, 'archive', 'main', '15-1', first.slice(0, 16), history), 'utf8')).toBe('')
  expect(asyncLog(site) + site.cluster.log()).toContain(`WARN: ${history} is empty, and is archived as it is`)
})
