import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { giveToTestUser, makeTestDir, pgts, pgtsProgram, startCluster, testUser } from '../support/postgres/postgres.ts'
import { expectRefusal, seen } from '../support/refusal.ts'
import { aSite, type Site } from '../support/sites/site.ts'

/** All names in the repository, to check that a refused command changed nothing. */
function repository(site: Site): string[] {
  return readdirSync(site.repo, { recursive: true, encoding: 'utf8' }).sort()
}

/** Run a command that is refused, and check that the repository did not change. */
async function refused(site: Site, args: string[], refusal: Parameters<typeof expectRefusal>[1]): Promise<void> {
  const before = repository(site)
  expectRefusal(await site.pgts(args), refusal)
  expect(repository(site)).toEqual(before)
  expect(readdirSync(join(site.dir, 'lock'))).toEqual([])
}

let site: Site
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, options: { 'archive-timeout': '2s' } })
  await site.cluster.query('create table t as select g from generate_series(1, 1000) g')
})
afterAll(() => site[Symbol.asyncDispose]())

describe('standard output on a full device', () => {
  // repo-ls of an empty repository writes nothing.
  const folder = () => join(site.repo, 'folder')
  beforeAll(() => void mkdirSync(folder()))
  afterAll(() => rmSync(folder(), { recursive: true }))
  const full = (line: string, redirect = '>/dev/full') => {
    const command = `"$0" --config="$1" ${line} ${redirect}`
    const { status, stderr } = spawnSync('sh', ['-c', command, pgtsProgram(), site.config], { encoding: 'utf8', uid: testUser.uid, gid: testUser.gid, cwd: site.dir }) // prettier-ignore
    return { status, stderr }
  }

  test.each(['info', '--output=json info', 'help', '--stanza=main --output=text --verbose verify', 'repo-ls'])(
    '%s exits with 124 and one error line, without a stack',
    (line) => {
      const { status, stderr } = full(line)
      expect(status).toBe(124)
      expect(stderr).toMatch(
        /ERROR: \[124\]: cannot write to standard output: ENOSPC: no space left on device, write\n/,
      )
      expect(stderr).not.toMatch(/^ +at /m)
    },
  )
  test('version exits with 124', () => {
    const { status, stderr } = spawnSync('sh', ['-c', '"$0" version >/dev/full', pgtsProgram()], { encoding: 'utf8' })
    expect({ status, stderr }).toMatchObject({ status: 124, stderr: expect.stringContaining('standard output') })
  })
  test('a failed command keeps its exit code, and its error is written to standard error', () => {
    const { status, stderr } = full('--stanza=main manifest')
    expect(status).toBe(55)
    expect(stderr).toMatch(/^ERROR: \[055\]: unable to open missing file '.*backup\.info' for read/)
  })
  test('info exits with 124 when standard error is full, too', () => {
    expect(full('info', '>/dev/full 2>/dev/full').status).toBe(124)
  })
})

describe('an invalid command line is refused:', () => {
  const bare = (...args: string[]) => pgts([`--config=${site.config}`, ...args], { cwd: site.dir })

  test('no stanza', async () => {
    expectRefusal(await bare('backup'), { code: 37, says: ['backup', /stanza/], hint: /--stanza=|main/ })
  })
  test('no command', async () => {
    const result = await pgts([])
    expect(seen(result)).toMatch(/backup .*\n[^]*restore /)
    expect(result.code).toBe(0)
  })
  test('an unknown command', async () => {
    expectRefusal(await bare('backpu'), { code: 48, says: ['backpu'], hint: /did you mean backup/ })
  })
  test('an unknown option, with the nearest existing one', async () => {
    await refused(site, ['--start-fsat', 'backup'], { code: 31, says: ['start-fsat'], hint: /start-fast/ })
  })
  test('an option of another command', async () => {
    await refused(site, ['--set=latest', 'backup'], { code: 31, says: ['set', 'backup'], hint: /restore|help/ })
  })
  test('a value of the wrong type', async () => {
    await refused(site, ['--process-max=many', 'backup'], { code: 32, says: ["'many'", 'process-max'], hint: null })
    await refused(site, ['--compress-type=rar', 'backup'], {
      code: 32,
      says: ["'rar'", 'compress-type', /gz/, /zst/],
      hint: null,
    })
    await refused(site, ['--archive-timeout=soon', 'backup'], {
      code: 32,
      says: ["'soon'", 'archive-timeout'],
      hint: null,
    })
  })
  test('a parameter too many', async () => {
    await refused(site, ['backup', 'full'], { code: 96, says: ["'full'", 'backup'], hint: null })
  })
})

describe('an unusable configuration file is refused:', () => {
  const withConfig = (path: string) => pgts([`--config=${path}`, '--stanza=main', 'backup'], { cwd: site.dir })
  const written = (name: string, text: string, mode = 0o644) => {
    const path = join(makeTestDir('config'), name)
    writeFileSync(path, text)
    giveToTestUser(path)
    chmodSync(path, mode)
    return path
  }

  test('missing', async () => {
    expectRefusal(await withConfig('/nonexistent/pgts.yaml'), {
      code: 55,
      says: ['/nonexistent/pgts.yaml'],
      hint: /--config/,
    })
  })
  test('not readable', async () => {
    const path = written('pgts.yaml', 'global: {}\n', 0o000)
    expectRefusal(await withConfig(path), {
      code: 41,
      says: [path, /permission denied/],
      hint: /must be able to read it/,
    })
  })
  test('malformed YAML, with line and column', async () => {
    const path = written('pgts.yaml', 'global:\n  process-max: [1\nstanza: {}\n')
    expectRefusal(await withConfig(path), { code: 29, says: [`${path} line 3:1`], hint: /quote|bracket|YAML|indent/ })
  })
  test('an unknown key, with line, column and the nearest existing one', async () => {
    const path = written('pgts.yaml', 'global:\n  proces-max: 2\n')
    expectRefusal(await withConfig(path), {
      code: 31,
      says: [`${path} line 2:3`, 'proces-max'],
      hint: /process-max/,
    })
  })
  test('a value of the wrong type, with line and column', async () => {
    const path = written('pgts.yaml', 'global:\n  process-max: many\nstanza:\n  main:\n    pg: [{ path: /x }]\n')
    expectRefusal(await withConfig(path), { code: 32, says: [`${path} line 2:3`, 'many', 'process-max'], hint: null })
  })
  test('an invalid ini file', async () => {
    const path = written('pgbackrest.conf', '[global]\nrepo1-path\n')
    expectRefusal(await withConfig(path), { code: 29, says: [`${path} line 2`], hint: null })
  })
})

describe('before the stanza exists', () => {
  test('backup, check and restore have stanza-create as a hint', async () => {
    expect(existsSync(join(site.repo, 'backup'))).toBe(false)
    await refused(site, ['backup'], { code: 55, says: ['archive.info'], hint: /stanza-create/ })
    await refused(site, ['check'], { code: 55, says: ['archive.info'], hint: /stanza-create/ })
    await refused(site, [`--pg1-path=${makeTestDir('target')}`, 'restore'], {
      code: 75,
      says: ['backup.info'],
      hint: /stanza-create/,
    })
  })
  test('info reports a missing stanza path with exit code 0', async () => {
    const result = await site.pgts(['info'])
    expect(result.stdout).toMatch(/missing stanza path/)
    expect(result.code).toBe(0)
  })
})

describe('a command for a missing or another cluster is refused:', () => {
  beforeAll(() => site.pgtsOk('stanza-create'))

  test('a data directory that does not exist', async () => {
    await refused(site, ['--pg1-path=/nonexistent/data', 'backup'], {
      code: 55,
      says: ['/nonexistent/data'],
      hint: /pg1-path/,
    })
    await refused(site, ['--pg1-path=/nonexistent/data', 'stanza-create'], {
      code: 55,
      says: ['/nonexistent/data'],
      hint: /pg1-path/,
    })
  })
  test('the cluster of another stanza, of another version', async () => {
    await using other = await startCluster({ version: 16, walSegsizeMb: 1 })
    const options = Object.entries(other.pgOptions()).map(([name, value]) => `--${name}=${value}`)
    const clusters = [/system id\w* \d{15,}/, /\b15\b/, /\b16\b/]
    await refused(site, [...options, 'backup'], { code: 51, says: clusters, hint: /pg1-path|stanza-upgrade/ })
    await refused(site, [...options, '--no-archive-check', 'check'], {
      code: 28,
      says: clusters,
      hint: /stanza-upgrade/,
    })
    await refused(site, [...options, 'stanza-create'], { code: 28, says: clusters, hint: /stanza-upgrade/ })
    const segment = join(other.dataDir, 'pg_wal', '000000010000000000000001')
    await refused(site, [`--pg1-path=${other.dataDir}`, 'archive-push', segment], {
      code: 44,
      says: ['main', /\b15\b/, /\b16\b/],
      hint: /stanza/,
    })
    // The data directory of the site, but a connection to another server.
    await refused(site, [`--pg1-socket-path=${other.socketDir}`, 'backup'], {
      code: 58,
      says: [site.cluster.dataDir],
      hint: /pg1-(path|port|socket-path)/,
    })
  }, 60_000)
  test('a stopped server', async () => {
    await site.cluster.stop()
    try {
      await refused(site, ['backup'], {
        code: 56,
        says: [site.cluster.socketDir],
        hint: /check that PostgreSQL is running/,
      })
      const check = await site.pgts(['check'])
      expect(seen(check)).toMatch(/check that PostgreSQL is running/)
      expect(check.code).toBe(27)
    } finally {
      await site.cluster.start()
    }
  })
  test('a database user that does not exist', async () => {
    await refused(site, ['--pg1-user=nobody_here', 'backup'], { code: 56, says: ['nobody_here'], hint: /pg1-user/ })
  })
})

describe('WAL that is not archived by pgts', () => {
  const setting = async (assignment: string) => {
    await site.cluster.query(`alter system ${assignment}`)
    await site.cluster.query('select pg_reload_conf()')
    await expect
      .poll(async () => (await site.cluster.query('select pg_conf_load_time()::text as t'))[0]?.['t'], {
        timeout: 5000,
      })
      .toBeTruthy()
  }
  const commandIs = async (command: string) => {
    await setting(`set archive_command = '${command}'`)
    const client = await site.cluster.client()
    await expect
      .poll(async () => (await client.query('show archive_command')).rows[0]?.archive_command, { timeout: 5000 })
      .toBe(command === '' ? '' : command)
    await client.end()
  }
  const original = () => site.cluster.query('alter system reset archive_command')

  test('is reported when archive_command is not set, or is of another program', async () => {
    await commandIs('')
    for (const command of ['backup', 'check'])
      await refused(site, [command], { code: 68, says: ['archive_command is not set'], hint: /archive-push %p/ })
    await commandIs('cp %p /tmp/%f')
    await refused(site, ['backup'], { code: 68, says: ["'cp %p /tmp/%f'"], hint: /archive-push %p/ })
  })
  test('is reported when archive_command contains pgts but stores nothing', async () => {
    await commandIs('false # pgts')
    await refused(site, ['check'], { code: 82, says: [/WAL segment [0-9A-F]{24}/], hint: /archive_command|log/ })
    await refused(site, ['backup'], { code: 82, says: [/WAL segment [0-9A-F]{24}/], hint: /archive_command|log/ })
    const [row] = await site.cluster.query(
      "select count(*) from pg_stat_activity where application_name like 'pg_%backrest%' or application_name like 'pgts%'",
    )
    expect(row?.['count']).toBe('0')
  }, 40_000)
  test('is reported when archive_mode is off', async () => {
    await original()
    await site.cluster.query("alter system set archive_mode = 'off'")
    await site.cluster.restart()
    for (const command of ['backup', 'check'])
      await refused(site, [command], { code: 87, says: ['archive_mode'], hint: /archive_mode = on/ })
    await site.cluster.query('alter system reset archive_mode')
    await site.cluster.restart()
    await site.pgtsOk('check')
  }, 60_000)
})

test.runIf(process.getuid?.() === 0)(
  'commands that write are refused for root, because other users could not change its files',
  () => {
    const run = (...args: string[]) => {
      const done = spawnSync(pgtsProgram(), [`--config=${site.config}`, '--stanza=main', ...args], { encoding: 'utf8' })
      return { code: done.status, signal: null, stdout: done.stdout, stderr: done.stderr, timedOut: false }
    }
    const before = repository(site)
    for (const command of ['backup', 'stanza-create', 'check', 'expire'])
      expectRefusal(run(command), { code: 31, says: [/root/], hint: /--allow-root/ })
    expect(repository(site)).toEqual(before)
    expect(run('--allow-root', 'info').code).toBe(0)
    expect(spawnSync(pgtsProgram(), ['version'], { encoding: 'utf8' }).status).toBe(0)
    expect(testUser.switched).toBe(true)
    expect(readFileSync(site.config, 'utf8')).toContain('[main]')
  },
)
