import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Daemon } from '../../test/support/processes/daemon.ts'
import { pgtsProgram, projectRoot, runOk } from '../../test/support/postgres/postgres.ts'
import { S3Server, type S3ServerAddress, s3ServerInstalled } from '../../test/support/stores/s3-server.ts'
import { BenchBucket } from './bucket.ts'
import { type ClusterName, Clusters } from './clusters.ts'
import { objectJobs, repoPath } from './object-jobs.ts'
import { makeProgram, type Program, type Variant } from './programs.ts'
import { conditions, report } from './report.ts'
import { printRow, type Row, runJob } from './rows.ts'
import { isAskedFor, knowsBlocks, PGBACKREST, type Settings } from './settings.ts'
import { runDirectory } from './run-directory.ts'

/**
 * Both programs on one real S3 server, over TLS and through one slow network. Everything is stopped and removed at the
 * end, also after an error.
 */
export async function benchObjectStore(settings: Settings): Promise<void> {
  if (!s3ServerInstalled())
    throw new Error('an S3 server is needed: apt-get install radosgw ceph-mon ceph-osd ceph-common')
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stop.abort(new Error(`interrupted by ${signal}`)))
  const root = runDirectory()
  await using server = await S3Server.start(join(root, 's3'))
  await using network = await slowNetwork(root, server.address, settings.latencyMs)
  await measureAll(settings, root, server.address, network.port, stop.signal)
}

interface SlowNetwork extends AsyncDisposable {
  readonly port: number
}

/** In its own process: the measuring process scans all processes periodically. */
async function slowNetwork(
  root: string,
  { host, httpsPort }: S3ServerAddress,
  latencyMs: number,
): Promise<SlowNetwork> {
  const script = ['scripts/run.mjs', 'test/support/faults/network-proxy-main.ts'].map((part) => join(projectRoot, part))
  const log = join(root, 'network.log')
  const proxy = new Daemon(
    'the slow network',
    process.execPath,
    [...script, `--target=${host}:${httpsPort}`, `--latency=${latencyMs / 2}`],
    log,
  )
  const port = () => Number(/"port":(\d+)/.exec(readFileSync(log, 'utf8'))?.[1] ?? 0)
  try {
    await proxy.until(() => port() > 0)
  } catch (error) {
    await proxy[Symbol.asyncDispose]()
    throw error
  }
  return { port: port(), [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose]() }
}

async function measureAll(
  settings: Settings,
  root: string,
  server: S3ServerAddress,
  port: number,
  signal: AbortSignal,
): Promise<void> {
  const { sizeMiB, runs, latencyMs, tables } = settings
  const pgbackrest = (await runOk(PGBACKREST, ['version'])).stdout.trim()
  const pgts = (await runOk(pgtsProgram(), ['version'])).stdout.trim()
  const gateway = (await runOk('radosgw', ['--version'])).stdout.trim()
  console.log(`${pgts} and ${pgbackrest} on S3 of ${gateway}, over TLS, a round trip of ${latencyMs} ms`)
  console.log(`${sizeMiB} MiB of rows, ${tables} small tables, ${conditions(settings)}`)
  console.log(
    'median seconds, CPU seconds of all processes, highest memory, requests; ratio = median of pgts / pgbackrest, paired\n',
  )
  const bucket = await BenchBucket.create(server, 'bench', signal)
  await using clusters = new Clusters(settings)
  const made = new Map<string, readonly [Program, Program]>()
  const programsOf = async (cluster: ClusterName, variant: Variant) => {
    const known = made.get(`${cluster} ${variant}`)
    if (known !== undefined) return known
    const make = async (name: Program['name'], program: string) =>
      makeProgram(name, program, variant, join(root, cluster), await clusters.get(cluster), settings, {
        ...bucket.options(port),
        'repo1-path': `/${repoPath(name, cluster, variant)}`,
        'expire-auto': 'n',
      })
    const programs = [await make('pgts', pgtsProgram()), await make('pgbackrest', PGBACKREST)] as const
    made.set(`${cluster} ${variant}`, programs)
    return programs
  }
  const direct = (tested: Program, ...args: string[]) =>
    runOk(
      tested.program,
      [`--config=${tested.config}`, `--repo1-storage-port=${server.httpsPort}`, '--stanza=main', ...args],
      { deadlineMs: 600_000, signal },
    )
  const blocks = knowsBlocks(pgbackrest)
  const rows: Row[] = []
  const jobs = objectJobs({ settings, bucket, direct, clusters, blocks })
  for (const job of jobs.filter(({ name }) => isAskedFor(name, settings))) {
    signal.throwIfAborted()
    const row = await runJob(job, await programsOf(job.cluster, job.variant), {
      runs,
      signal,
      requests: requestCounter(server),
      storedBytes: (tested) => storedBytes(direct, tested),
    })
    rows.push(row)
    printRow(row)
  }
  report(rows, settings, { pgts, pgbackrest, gateway })
}

type Direct = (tested: Program, ...args: string[]) => Promise<{ readonly stdout: string }>

async function storedBytes(direct: Direct, tested: Program): Promise<number> {
  const info = JSON.parse((await direct({ ...tested, program: PGBACKREST }, '--output=json', 'info')).stdout) as {
    backup: { info: { repository: { delta: number } } }[]
  }[]
  return info[0]!.backup.at(-1)!.info.repository.delta
}

/** Requests that the gateway has answered since the last call. */
function requestCounter(server: S3ServerAddress): () => number {
  const log = join(server.dir, 'log/client.admin.log')
  let seen = statSync(log).size
  return () => {
    const text = readFileSync(log).subarray(seen)
    seen += text.length
    return text.toString('latin1').split(' beast: ').length - 1
  }
}
