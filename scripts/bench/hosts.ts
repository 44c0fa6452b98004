import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hosts, type TestHost } from '../../test/support/hosts/hosts.ts'
import { type Cluster, runOk, startCluster } from '../../test/support/postgres/postgres.ts'
import type { Job } from './jobs.ts'
import { measure } from './measure.ts'
import { changeALittle, load, type Program, restoreWords, type Variant } from './programs.ts'
import { conditions, report } from './report.ts'
import { printRow, type Row, runJob } from './rows.ts'
import { isAskedFor, PGBACKREST, type Settings } from './settings.ts'

/** One program, installed on both hosts. */
interface HostProgram extends Program {
  /** Its configuration on the PostgreSQL host; `config` is that of the repository host. */
  readonly postgresConfig: string
  /** The program on the host of PostgreSQL, whose user cannot use that of the other host. */
  readonly postgresProgram: string
}

interface HostJob extends Job {
  readonly host: 'postgres' | 'repository'
}

/**
 * A PostgreSQL host and a repository host, two users of this machine that are connected by ssh. CPU time includes the processes
 * of the other host and those of sshd, but not the server.
 */
export async function benchHosts(settings: Settings): Promise<void> {
  const network = settings.latencyMs === 0 ? undefined : { latencyMs: settings.latencyMs / 2 }
  await using hosts = await Hosts.start({ network })
  const version = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  console.log(
    `${settings.sizeMiB} MiB of rows, ${settings.latencyMs} ms between the hosts, ${conditions(settings)}, ${version}\n`,
  )
  await using cluster = await startCluster({
    version: 15,
    // Fails on purpose, so that the segments stay in pg_wal for both programs.
    conf: { archive_mode: 'on', archive_command: 'false', max_wal_size: '4GB', shared_buffers: '256MB' },
  })
  await load(cluster, settings.sizeMiB)
  const made = new Map<Variant, readonly [HostProgram, HostProgram]>()
  const programsOf = async (variant: Variant) => {
    const known = made.get(variant)
    if (known !== undefined) return known
    const programs = [
      await makeHostProgram('pgts', variant, hosts, cluster, settings),
      await makeHostProgram('pgbackrest', variant, hosts, cluster, settings),
    ] as const
    made.set(variant, programs)
    return programs
  }
  const rows: Row[] = []
  for (const job of await jobsFor(cluster, settings)) {
    if (!isAskedFor(job.name, settings)) continue
    const host = hosts[job.host]
    const row = await runJob(job, await programsOf(job.variant), {
      runs: settings.runs,
      storedBytes: async () => 0,
      measure: (command, cwd) =>
        measure(command, cwd, { user: host.user, env: host.env, elsewhere: () => childrenCpu(hosts.sshd.pid) }),
    })
    rows.push(row)
    printRow(row)
  }
  report(rows, settings, { pgbackrest: version })
}

async function makeHostProgram(
  name: Program['name'],
  variant: Variant,
  { postgres, repository }: Hosts,
  cluster: Cluster,
  settings: Settings,
): Promise<HostProgram> {
  const programOf = (host: TestHost) => (name === 'pgts' ? join(host.dir, 'bin/pgts') : PGBACKREST)
  const file = `${name}-${variant}.conf`
  const paths = (host: TestHost) => ({
    'log-level-file': 'off',
    'log-path': join(host.dir, 'log'),
    'lock-path': join(host.dir, 'lock'),
    'spool-path': join(host.dir, 'spool'),
    'cmd-ssh': join(host.dir, 'bin/ssh'),
    'process-max': settings.processMax,
    'compress-type': settings.codec,
    'compress-level': settings.level,
  })
  const repoPath = join(repository.dir, `${name}-${variant}`)
  mkdirSync(repoPath, { mode: 0o750 })
  repository.give(repoPath)
  repository.write(
    file,
    configuration(
      {
        ...paths(repository),
        'repo1-path': repoPath,
        'repo1-retention-full': 99,
        'start-fast': 'y',
        'archive-check': 'n',
        ...(variant === 'plain' ? {} : { 'repo1-bundle': 'y' }),
      },
      {
        'pg1-host': 'pg-host',
        'pg1-host-user': postgres.user.name,
        'pg1-host-cmd': programOf(postgres),
        'pg1-host-config': join(postgres.dir, file),
        ...cluster.pgOptions(),
      },
    ),
  )
  const there = {
    'repo1-host': 'repo-host',
    'repo1-host-user': repository.user.name,
    'repo1-host-cmd': programOf(repository),
    'repo1-host-config': join(repository.dir, file),
  }
  postgres.write(file, configuration({ ...paths(postgres), ...there }, cluster.pgOptions()))
  const config = join(repository.dir, file)
  const program = programOf(repository)
  await repository.run(program, [`--config=${config}`, '--stanza=main', 'stanza-create'])
  const target = join(postgres.dir, `${name}-restored`)
  return {
    name,
    program,
    postgresProgram: programOf(postgres),
    dir: '/',
    config,
    postgresConfig: join(postgres.dir, file),
    target,
  }
}

function configuration(global: object, stanza: object): string {
  const lines = (values: object) => Object.entries(values).map(([option, value]) => `${option}=${String(value)}`)
  return ['[global]', ...lines(global), '[main]', ...lines(stanza), ''].join('\n')
}

async function jobsFor(cluster: Cluster, settings: Settings): Promise<HostJob[]> {
  const current = String((await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as name'))[0]?.['name'])
  const wal = readdirSync(join(cluster.dataDir, 'pg_wal'))
    .filter((name) => /^[0-9A-F]{24}$/.test(name) && name < current)
    .sort()
    .slice(0, settings.segments)
  const backup = (type: string) => (tested: Program) => [
    tested.program,
    `--config=${tested.config}`,
    '--stanza=main',
    `--type=${type}`,
    'backup',
  ]
  const onPostgres = (tested: Program) => {
    const { postgresProgram, postgresConfig } = tested as HostProgram
    return [postgresProgram, `--config=${postgresConfig}`, '--stanza=main']
  }
  const pushed = (tested: Program) =>
    wal.map((name) => `${onPostgres(tested).join(' ')} archive-push ${join(cluster.dataDir, 'pg_wal', name)}`)
  let round = 0
  return [
    { name: 'full backup, a file each', host: 'repository', variant: 'plain', command: backup('full') },
    { name: 'full backup, bundled', host: 'repository', variant: 'bundle', command: backup('full') },
    {
      name: 'incr after small changes, bundled',
      host: 'repository',
      variant: 'bundle',
      prepareRun: () => changeALittle(cluster, ++round),
      command: backup('incr'),
    },
    {
      name: 'restore of the incr, bundled',
      host: 'postgres',
      variant: 'bundle',
      prepare: (tested) => rmSync(tested.target, { recursive: true, force: true }),
      command: (tested) => [...onPostgres(tested), `--pg1-path=${tested.target}`, ...restoreWords(tested)],
    },
    {
      name: `archive-push (${wal.length} segments, one call each)`,
      host: 'postgres',
      variant: 'plain',
      command: (tested) => ['sh', '-ec', pushed(tested).join('\n')],
    },
  ]
}

/** Ticks of a second in /proc/PID/stat. */
const TICKS = 100

/** CPU seconds of all ended children of a process. sshd needs a moment to wait for them. */
async function childrenCpu(pid: number): Promise<number> {
  const now = () => {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[13]) + Number(fields[14])) / TICKS
  }
  for (let before = now(); ; before = now()) {
    await sleep(500)
    if (now() === before) return before
  }
}
