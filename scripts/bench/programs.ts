import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, giveToTestUser, runOk } from '../../test/support/postgres/postgres.ts'
import type { Settings } from './settings.ts'

/** One of the two programs with its repository. */
export interface Program {
  readonly name: 'pgts' | 'pgbackrest'
  readonly program: string
  readonly dir: string
  readonly config: string
  /** Target directory of restores. */
  readonly target: string
}

/** How a repository is kept; each variant has its own, for each program. */
export type Variant = 'plain' | 'encrypted' | 'bundle' | 'block' | 'async' | 'expire' | 'many'

const VARIANTS: Readonly<Record<Variant, Readonly<Record<string, string>>>> = {
  plain: {},
  encrypted: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': 'of the benchmark' },
  bundle: { 'repo1-bundle': 'y' },
  block: { 'repo1-bundle': 'y', 'repo1-block': 'y' },
  async: { 'archive-async': 'y' },
  expire: { 'repo1-bundle': 'y' },
  many: {},
}

export async function makeProgram(
  name: Program['name'],
  program: string,
  variant: Variant,
  root: string,
  cluster: Cluster,
  settings: Settings,
  /** Further options, for example of a repository in a store. */
  elsewhere: Readonly<Record<string, string>> = {},
  /** Of stanza-create. */
  args: readonly string[] = [],
): Promise<Program> {
  const dir = join(root, `${name}-${variant}`)
  const config = join(dir, `${name}.conf`)
  for (const sub of ['repo', 'log', 'lock', 'spool', 'wal']) mkdirSync(join(dir, sub), { recursive: true })
  const options = {
    'repo1-path': join(dir, 'repo'),
    'log-path': join(dir, 'log'),
    'lock-path': join(dir, 'lock'),
    'spool-path': join(dir, 'spool'),
    'process-max': settings.processMax,
    'compress-type': settings.codec,
    ...(settings.codec === 'none' ? {} : { 'compress-level': settings.level }),
    'start-fast': 'y',
    'repo1-retention-full': 99,
    'archive-check': 'n',
    ...VARIANTS[variant],
    ...elsewhere,
  }
  const lines = (values: object) => Object.entries(values).map(([key, value]) => `${key}=${String(value)}`)
  const text = ['[global]', ...lines(options), '[main]', ...lines(cluster.pgOptions()), ''].join('\n')
  writeFileSync(config, text, { mode: 0o640 })
  giveToTestUser(dir)
  await runOk(program, [`--config=${config}`, '--stanza=main', ...args, 'stanza-create'])
  return { name, program, dir, config, target: join(dir, 'restored') }
}

/**
 * Rows that compress about as tables do: some words, some numbers, some noise.
 * @param earlierMiB rows of so many MiB exist already
 */
export async function load(cluster: Cluster, sizeMiB: number, earlierMiB = 0): Promise<void> {
  if (earlierMiB === 0) await createTables(cluster)
  const rowsPerMiB = 5200
  for (let done = earlierMiB; done < sizeMiB; done += 64) {
    const rows = Math.min(64, sizeMiB - done) * rowsPerMiB
    await cluster.query(
      `insert into big select i, 'customer number ' || i % 1000 || ' of the benchmark', md5(i::text) || md5((i * 7)::text), i % 977
         from generate_series(${done * rowsPerMiB + 1}, ${done * rowsPerMiB + rows}) i`,
    )
  }
  await cluster.query('vacuum big')
  await cluster.query('checkpoint')
}

async function createTables(cluster: Cluster): Promise<void> {
  await cluster.query('create table big (id bigint primary key, name text, noise text, amount int)')
  for (let i = 0; i < 300; i++)
    await cluster.query(`create table small_${i} as select g, md5(g::text) from generate_series(1, 20) g`)
}

/** Create this many tables of one page, a hundred per transaction. */
export async function loadSmall(cluster: Cluster, tables: number): Promise<void> {
  for (let first = 0; first < tables; first += 100) {
    await cluster.query(
      `do $$ begin for i in ${first} .. ${Math.min(first + 100, tables) - 1} loop
         execute format('create table small_%s as select g, g * %s as h from generate_series(1, 20) g', i, i);
       end loop; end $$`,
    )
  }
  await cluster.query('checkpoint')
}

/** Change scattered rows: about one page in two hundred of the big table. */
export async function changeALittle(cluster: Cluster, round: number): Promise<void> {
  await cluster.query(`update big set amount = amount + 1 where id % 20000 = ${round}`)
  await cluster.query('checkpoint')
}

/** Finish the current segment and write to the next: without that write the finished one is still the current segment. */
export async function switchWal(cluster: Cluster): Promise<void> {
  await cluster.query('select pg_switch_wal()')
  await cluster.query('checkpoint')
}

/** Overwrite a page in every tenth file, and add a file that does not belong there. */
export function damage(dir: string): void {
  let seen = 0
  const walk = (path: string) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name)
      if (entry.isDirectory()) walk(child)
      else if (entry.isFile() && statSync(child).size >= 8192 && ++seen % 10 === 0) {
        const file = openSync(child, 'r+')
        writeSync(file, Buffer.alloc(8192, 0x5a), 0, 8192, 0)
        closeSync(file)
      }
    }
  }
  walk(join(dir, 'base'))
  writeFileSync(join(dir, 'base', 'left-over'), 'x')
}

/** The archive of the benchmark lacks the WAL of its backups, so pgts would refuse to restore them. */
export function restoreWords({ name }: Program): readonly string[] {
  return name === 'pgts' ? ['--no-restore-check', 'restore'] : ['restore']
}

export function emptyTarget(tested: Program, target = tested.target): void {
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { mode: 0o700 })
  giveToTestUser(target)
}

/** A directory in memory: a restore to it measures reading, decoding and checking the backup. */
export function memoryTarget(tested: Program): string {
  return `/dev/shm/pgts-bench-${tested.name}`
}

/** Stored bytes of the newest backup, as reported by pgbackrest. */
export async function storedBytes(pgbackrest: string, tested: Program): Promise<number> {
  const { stdout } = await runOk(pgbackrest, [`--config=${tested.config}`, '--stanza=main', '--output=json', 'info'])
  const [stanza] = JSON.parse(stdout) as { backup: { info: { repository: { delta: number } } }[] }[]
  return stanza!.backup.at(-1)!.info.repository.delta
}
