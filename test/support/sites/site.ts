import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { allProcesses } from '../processes/processes.ts'
import { PGBACKREST } from '../processes/programs.ts'
import { until } from '../until.ts'
import {
  type Cluster,
  type ClusterOptions,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  type RunOptions,
  type RunResult,
  describeRun,
  runAs,
  startCluster,
  testUser,
} from '../postgres/postgres.ts'

export { PGBACKREST }

export interface SiteOptions extends ClusterOptions {
  /** The program in archive_command; default pgts. */
  readonly archiver?: 'pgts' | 'pgbackrest'
  /** Path of the pgts that archives and that `pgts` runs; default bin/pgts. */
  readonly program?: string
  /** More options for both programs, in their common names: `{ 'compress-type': 'lz4', 'repo1-retention-full': '2' }`. */
  readonly options?: Readonly<Record<string, string>>
}

/**
 * A cluster that archives, a repository, and a configuration for each program: pgts and pgbackrest share repository,
 * stanza and locks. The path of the ini file contains the word that pgbackrest requires in archive_command.
 */
export class Site {
  readonly stanza = 'main'
  constructor(
    readonly dir: string,
    readonly cluster: Cluster,
    readonly config: string,
    readonly program = pgtsProgram(),
  ) {}

  get repo(): string {
    return join(this.dir, 'repo')
  }

  /** `pgts --config=... --stanza=main ...`; the result whatever the exit code. */
  pgts(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    return runAs(testUser, this.program, [`--config=${this.config}`, `--stanza=${this.stanza}`, ...args], {
      cwd: this.dir,
      deadlineMs: 120_000,
      ...options,
    })
  }

  /** As `pgts`, but an exit code other than 0 is an error that shows the output. */
  async pgtsOk(...args: string[]): Promise<RunResult> {
    return ok(`pgts ${args.join(' ')}`, await this.pgts(args))
  }

  /** The real pgbackrest on the same site, always under a deadline. */
  async pgbackrest(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    if (args.includes('restore')) await this.#untilResidentsEnd()
    return runAs(testUser, PGBACKREST, [`--config=${this.config}`, `--stanza=${this.stanza}`, ...args], {
      cwd: this.dir,
      deadlineMs: 120_000,
      ...options,
    })
  }

  /**
   * restore of pgbackrest removes the spool and fails with 61 if a file is removed at the same time; a resident process removes its
   * files within a second after its server has ended.
   */
  #untilResidentsEnd(): Promise<void> {
    const isEnding = ({ args }: { readonly args: readonly string[] }) => {
      const path = args.find((word) => word.startsWith('--pg1-path='))?.slice('--pg1-path='.length)
      return (
        args.includes(`--config=${this.config}`) &&
        args.some((word) => /^archive-(get|push):async$/.test(word)) &&
        !existsSync(join(path ?? this.cluster.dataDir, 'postmaster.pid'))
      )
    }
    return until('the end of resident processes', () => !allProcesses().some(isEnding), { everyMs: 250 })
  }

  async pgbackrestOk(...args: string[]): Promise<RunResult> {
    return ok(`pgbackrest ${args.join(' ')}`, await this.pgbackrest(args))
  }

  /** verify of pgbackrest ends with 0 even on corruption: its text must say ok, with totals above 0. */
  async verifiedByPgbackrest(): Promise<string> {
    const { stdout } = await this.pgbackrestOk('--output=text', '--verbose', 'verify')
    if (
      !/status: ok/.test(stdout) ||
      /(total WAL checked|total files checked): 0\b/.test(stdout) ||
      /: [1-9]\d*$/m.test(badCounters(stdout))
    )
      throw new Error(`pgbackrest verify reports errors:\n${stdout}`)
    return stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]()
  }
}

/**
 * The answers of both programs about a running site, requested until they agree: a segment may be archived in between.
 * Returns the last two answers.
 */
export async function askBoth<T>(ask: (who: 'pgts' | 'pgbackrest') => Promise<T>): Promise<readonly [T, T]> {
  for (let attempt = 0; ; attempt++) {
    const answers = [await ask('pgts'), await ask('pgbackrest')] as const
    if (attempt === 5 || JSON.stringify(answers[0]) === JSON.stringify(answers[1])) return answers
    await sleep(300)
  }
}

/**
 * A member of info's JSON as pgbackrest shows it: for a backup of its own, pgts shows a number as `backrest.version`, and
 * what the files have as `backrest.writer`, and only pgts has `window` and `drill`.
 */
export function asWritten(key: string, value: unknown): unknown {
  if (key === 'window' || key === 'drill') return undefined
  if (key !== 'backrest' || typeof value !== 'object' || value === null || !('writer' in value)) return value
  const { writer, ...rest } = value
  return { ...rest, version: writer }
}

function badCounters(text: string): string {
  return [...text.matchAll(/(missing|checksum invalid|size invalid|other): (\d+)/g)]
    .map((m) => `${m[1]}: ${m[2]}`)
    .join('\n')
}

function ok(what: string, result: RunResult): RunResult {
  if (result.code !== 0) throw new Error(describeRun(what, [], result))
  return result
}

/** A started cluster with archiving on, and configuration files for both programs; no stanza is created yet. */
export async function aSite(options: SiteOptions = {}): Promise<Site> {
  const dir = makeTestDir('site')
  const config = join(dir, 'pgbackrest.conf')
  const program = options.program ?? pgtsProgram()
  const archiver = options.archiver === 'pgbackrest' ? PGBACKREST : `'${program}'`
  const cluster = await startCluster({
    ...options,
    conf: {
      archive_mode: 'on',
      archive_command: `${archiver} --config=${config} --stanza=main archive-push %p`,
      ...options.conf,
    },
  })
  for (const name of ['repo', 'log', 'lock', 'spool']) mkdirSync(join(dir, name))
  writeConfig(config, dir, cluster, options.options ?? {})
  giveToTestUser(dir)
  return new Site(dir, cluster, config, program)
}

function writeConfig(config: string, dir: string, cluster: Cluster, options: Readonly<Record<string, string>>): void {
  const global: Record<string, string> = {
    'repo1-path': join(dir, 'repo'),
    'log-path': join(dir, 'log'),
    'lock-path': join(dir, 'lock'),
    'spool-path': join(dir, 'spool'),
    'start-fast': 'y',
    'repo1-retention-full': '9',
    'archive-timeout': '20s',
    // Default 15 s: a job that fails three times would wait as long.
    'job-retry-interval': '1',
    ...options,
  }
  const lines = (values: Readonly<Record<string, string>>) =>
    Object.entries(values).map(([name, value]) => `${name}=${value}`)
  writeFileSync(config, ['[global]', ...lines(global), '', '[main]', ...lines(cluster.pgOptions()), ''].join('\n'), {
    mode: 0o640,
  })
}
