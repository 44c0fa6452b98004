import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { isPgtsError } from '../../src/util/error.ts'
import { crashing, isCrash, type FaultyDriver } from '../support/faults/faulty-driver.ts'
import { runInProcess, type InProcess } from '../support/processes/in-process.ts'
import {
  giveToTestUser,
  isInstalled,
  makeTestDir,
  startCluster,
  testUser,
  runAs,
} from '../support/postgres/postgres.ts'
import { PGBACKREST } from '../support/sites/site.ts'

/**
 * The process crashes at each step in the repository, one after the other: the backup is then either complete
 * or absent for every command, and the next backup succeeds. The cluster is a stopped one, reduced
 * to a few files, so that all steps can be tested.
 */
let template: string
let pgPath: string
let original: Record<string, string>

beforeAll(async () => {
  const cluster = await startCluster({ start: false })
  pgPath = join(makeTestDir('small'), 'data')
  // pg_wal is not read; a few files of the databases are enough.
  cpSync(cluster.dataDir, pgPath, {
    recursive: true,
    filter: (source) =>
      !/\/pg_wal\/0/.test(source) &&
      (!/\/(base|global)\/.*[0-9]/.test(source) || /base\/1(\/(PG_VERSION|11[0-9]+))?$/.test(source)),
  })
  cpSync(join(cluster.dataDir, 'global/pg_control'), join(pgPath, 'global/pg_control'))
  original = contentOf(pgPath)
  template = makeTestDir('template')
  configure(template)
  await pgts(template, 'stanza-create')
  await pgts(template, 'backup', '--type=full')
})

function configure(dir: string): void {
  for (const name of ['repo', 'lock', 'spool', 'log']) mkdirSync(join(dir, name), { recursive: true })
  const lines = ['[global]', `repo1-path=${dir}/repo`, 'repo1-retention-full=2', `lock-path=${dir}/lock`]
  lines.push(`log-path=${dir}/log`, `spool-path=${dir}/spool`, 'compress-type=gz', 'compress-level=1')
  writeFileSync(join(dir, 'pgbackrest.conf'), [...lines, '[main]', `pg1-path=${pgPath}`, ''].join('\n'))
  giveToTestUser(dir)
}

const online = new Set(['backup', 'stanza-create'])

function pgts(dir: string, command: string, ...more: string[]): ReturnType<typeof runInProcess> {
  return runInProcess(argv(dir, command, ...more), join(dir, 'repo'))
}

function argv(dir: string, command: string, ...more: string[]): string[] {
  const offline = online.has(command) ? ['--no-online'] : []
  return [`--config=${dir}/pgbackrest.conf`, '--stanza=main', ...offline, ...more, command]
}

/** A repository with one backup in it. */
function aRepository(): string {
  const dir = makeTestDir('crash')
  configure(dir)
  cpSync(join(template, 'repo'), join(dir, 'repo'), { recursive: true, verbatimSymlinks: true })
  return dir
}

async function crashAt(dir: string, at: number): Promise<FaultyDriver> {
  let crashed: FaultyDriver | undefined
  const run = runInProcess(
    argv(dir, 'backup', '--type=full'),
    join(dir, 'repo'),
    (storage) => (crashed = crashing(storage, at)),
  )
  if (at === Infinity) await run
  else {
    const error: unknown = await run.catch((error: unknown) => error)
    expect(crashed?.reached).toBe(true)
    // The last step releases the lease: the backup is complete then, and a lease that cannot be released is a warning.
    if (!(error instanceof Error)) expect((error as InProcess).lines.at(-1)).toMatch(/^warn: .*lease/)
    // Expire reports a failed repository with [104]; files that are loaded at that step report that they cannot be read.
    else if (!isPgtsError(error, 'command')) expect(isCrash(error), String(error)).toBe(true)
  }
  return crashed!
}

async function listed(dir: string): Promise<string[]> {
  const { outcome } = await pgts(dir, 'info', '--output=json')
  const [stanza] = JSON.parse(outcome.text!) as { status: { code: number }; backup: { label: string }[] }[]
  expect(stanza?.status.code).toBe(0)
  return stanza!.backup.map(({ label }) => label)
}

const labelPath = (dir: string, name = '') => join(dir, 'repo/backup/main', name)
const directories = (dir: string) => readdirSync(labelPath(dir)).filter((name) => /^\d{8}-\d{6}F$/.test(name))
const finished = (dir: string) =>
  directories(dir).filter((name) => existsSync(labelPath(dir, `${name}/backup.manifest`)))

/** Name to mode and content of every restored file. */
function contentOf(root: string): Record<string, string> {
  const content: Record<string, string> = {}
  for (const name of readdirSync(root, { recursive: true, encoding: 'utf8' }).sort()) {
    if (/^(backup\.manifest|pgts\.copy|postgresql\.auto\.conf|pg_subtrans\/)/.test(name)) continue // not of the cluster, or never copied
    const stat = statSync(join(root, name))
    const sha1 = stat.isFile()
      ? createHash('sha1')
          .update(readFileSync(join(root, name)))
          .digest('hex')
      : ''
    content[name] = `${stat.mode.toString(8)} ${sha1}`
  }
  return content
}

async function restores(dir: string, label: string): Promise<void> {
  const target = join(makeTestDir('restored'), 'data')
  await pgts(dir, 'restore', `--set=${label}`, `--pg1-path=${target}`, '--type=none')
  expect(contentOf(target)).toEqual(original)
  rmSync(target, { recursive: true })
}

async function expectPgbackrestAccepts(dir: string): Promise<void> {
  if (!PGBACKREST.includes('/') && !isInstalled(PGBACKREST)) return
  giveToTestUser(dir)
  const run = (...args: string[]) =>
    runAs(testUser, PGBACKREST, [`--config=${dir}/pgbackrest.conf`, '--stanza=main', ...args])
  const info = JSON.parse((await run('--output=json', 'info')).stdout) as { backup: { label: string }[] }[]
  expect(info[0]?.backup.map(({ label }) => label)).toEqual(await listed(dir))
  const verify = await run('--output=text', '--verbose', 'verify')
  expect(verify.stdout).toMatch(/total files checked: [1-9]/)
  expect(verify.stdout).not.toMatch(/(missing|checksum invalid|size invalid|other): [1-9]/)
}

describe('a backup that crashes', () => {
  test('at any step is complete or absent, and the next backup succeeds', async () => {
    const whole = await crashAt(aRepository(), Infinity)
    const { steps } = whole
    // The copy of files alone has a hundred steps, of which some are chosen.
    for (const name of ['backup.manifest.copy', 'backup.manifest', 'backup.info', 'backup.info.copy', 'archive.info'])
      expect(
        steps.filter((step) => step.startsWith('commit ') && step.endsWith(`/${name}`)).length,
        name,
      ).toBeGreaterThan(0)
    const copying = (step: string) => step.includes('/pg_data/')
    const chosen = steps.map((_, at) => at).filter((at) => !copying(steps[at]!) || at % 11 === 0)
    expect(chosen.length).toBeGreaterThan(20)

    const seen = { whole: 0, absent: 0 }
    for (const at of chosen) {
      const dir = aRepository()
      const [first] = await listed(dir)
      await crashAt(dir, at)
      const where = `after the crash before step ${at}, ${steps[at]}`

      // Listed by info, or with a manifest: a backup that is not listed yet is complete, too.
      const survivors = finished(dir)
      for (const label of await listed(dir)) expect(survivors, where).toContain(label)
      const killed = directories(dir).filter((label) => label !== first)
      for (const label of killed) {
        if (survivors.includes(label)) seen.whole++
        else {
          seen.absent++
          await expect(pgts(dir, 'restore', `--set=${label}`, `--pg1-path=${makeTestDir('no')}`)).rejects.toMatchObject(
            { code: 'backup-set-invalid' },
          )
        }
      }

      // The next backup lists a complete backup, and removes an incomplete one.
      await pgts(dir, 'backup', '--type=full')
      const after = await listed(dir)
      expect(after, where).toEqual(finished(dir))
      expect(after, where).toEqual(directories(dir))
      expect(after.length, where).toBe(2)
      for (const label of survivors.slice(-1)) if (after.includes(label)) await restores(dir, label)
      await restores(dir, after.at(-1)!)
      const inBackups = after.flatMap((label) =>
        readdirSync(labelPath(dir, label), { recursive: true, encoding: 'utf8' }),
      )
      expect(
        inBackups.filter((name) => name.endsWith('.tmp') && !name.startsWith('backup.manifest')),
        where,
      ).toEqual([])
      if (at % 5 === 0) await expectPgbackrestAccepts(dir)
      rmSync(dir, { recursive: true })
    }
    expect(seen.whole).toBeGreaterThan(3)
    expect(seen.absent).toBeGreaterThan(10)
    console.log(
      `backup-crash: ${chosen.length} of ${steps.length} steps tested; ${seen.whole} left a complete backup, ${seen.absent} none`,
    )
  }, 180_000)
})
