import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Hosts } from '../../test/support/hosts/hosts.ts'
import { type Cluster, runOk, startCluster } from '../../test/support/postgres/postgres.ts'
import { type HostProgram, makeHostProgram } from './host-programs.ts'
import { sshTransport, TlsTransport } from './host-transport.ts'
import type { Job } from './jobs.ts'
import { measure } from './measure.ts'
import { changeALittle, load, type Program, restoreWords, type Variant } from './programs.ts'
import { proveCpu } from './prove-cpu.ts'
import { conditions, report } from './report.ts'
import { printRow, type Row, runJob } from './rows.ts'
import { isAskedFor, PGBACKREST, type Settings } from './settings.ts'
import { TreeCpu } from './tree-cpu.ts'

interface HostJob extends Job {
  readonly host: 'postgres' | 'repository'
  readonly variant: 'plain' | 'bundle'
}

/**
 * A PostgreSQL host and a repository host, two users of this machine that are connected by SSH or TLS. CPU time includes the
 * processes of both hosts, ssh and sshd, but not PostgreSQL.
 */
export async function benchHosts(settings: Settings): Promise<void> {
  const network = settings.latencyMs === 0 ? undefined : { latencyMs: settings.latencyMs / 2 }
  await using hosts = await Hosts.start({ network })
  await using transport = settings.remote === 'tls' ? await TlsTransport.start(hosts, network) : sshTransport()
  const version = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  console.log(
    `${settings.sizeMiB} MiB of rows, ${settings.latencyMs} ms by ${settings.remote} between the hosts, ${conditions(settings)}, ${version}\n`,
  )
  await using cluster = await startCluster({
    version: 15,
    // Fails on purpose, so that the segments stay in pg_wal for both programs.
    conf: { archive_mode: 'on', archive_command: 'false', max_wal_size: '4GB', shared_buffers: '256MB' },
  })
  await load(cluster, settings.sizeMiB)
  const site = { hosts, transport, cluster, settings }
  const programsOf = (variant: Variant) =>
    [makeHostProgram('pgts', variant, site), makeHostProgram('pgbackrest', variant, site)] as const
  const programs = { plain: programsOf('plain'), bundle: programsOf('bundle') }
  await transport.serve(programs.plain)
  for (const { program, config } of programs.plain) {
    const created = await hosts.repository.run(program, [`--config=${config}`, '--stanza=main', 'stanza-create'])
    if (created.code !== 0) throw new Error(`stanza-create of ${program}: ${created.stdout}${created.stderr}`)
  }
  using cpu = new TreeCpu({ except: [cluster.pid], unwaited: transport.unwaited })
  await proveCpu(hosts, cpu)
  const rows: Row[] = []
  for (const job of await jobsFor(cluster, settings)) {
    if (!isAskedFor(job.name, settings)) continue
    const host = hosts[job.host]
    const row = await runJob(job, programs[job.variant], {
      runs: settings.runs,
      storedBytes: async () => 0,
      measure: (command, cwd) => measure(command, cwd, { user: host.user, env: host.env, cpu: () => cpu.seconds() }),
    })
    rows.push(row)
    printRow(row)
  }
  report(rows, settings, { pgbackrest: version })
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
      prepare: (tested) => removeSegments(tested as HostProgram),
      command: (tested) => ['sh', '-ec', pushed(tested).join('\n')],
    },
  ]
}

/** A segment that is in the archive would not be stored again. */
function removeSegments({ repoPath }: HostProgram): void {
  const archive = join(repoPath, 'archive/main')
  for (const entry of readdirSync(archive, { withFileTypes: true }))
    if (entry.isDirectory()) rmSync(join(archive, entry.name), { recursive: true })
}
