import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pushWal } from '../../src/core/archive/push/push-wal.ts'
import { scanOf } from '../../src/core/window/segment-scan.ts'
import { localFiles } from '../../src/postgres/local-files.ts'
import { posixStorage } from '../../src/storage/posix.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import type { CompressType } from '../../src/util/compress-type.ts'
import { silentLogger } from '../../src/util/log.ts'
import { repositoryWith } from '../../test/support/builders/repository.ts'
import { type Cluster, pgtsProgram, startCluster } from '../../test/support/postgres/postgres.ts'
import { makeProgram } from './programs.ts'
import { conditions, report } from './report.ts'
import { runDirectory } from './run-directory.ts'
import type { Settings } from './settings.ts'

/** The scan for commit times may add this share to the CPU of a push. */
const GOAL = 0.05
const ROUNDS = 6

/** `npm run bench -- --only=scan`: CPU of the scan for commit times, beside the rest of a push; both in one warm process. */
export async function benchScan(settings: Settings): Promise<void> {
  console.log(`scan for commit times at archive-push, ${conditions(settings)}\n`)
  await using cluster = await startCluster({
    version: 15,
    conf: { archive_mode: 'on', archive_command: 'false', max_wal_size: '4GB', synchronous_commit: 'off' },
  })
  const program = await makeProgram('pgts', pgtsProgram(), 'plain', runDirectory(), cluster, settings)
  const rows = []
  for (const [job, work] of WORK) {
    const wal = await segmentsOf(cluster, work, settings.segments)
    rows.push({ job, ...(await costOf(wal, join(program.dir, 'repo'), cluster, settings)) })
  }
  console.log(
    '| WAL | segments | commits | push, ms | scan, ms | share | goal | reached |\n|---|---|---|---|---|---|---|---|',
  )
  for (const { job, segments, commits, pushMs, scanMs } of rows) {
    const share = scanMs / pushMs
    const cells = [job, segments, commits, pushMs.toFixed(1), scanMs.toFixed(2), `${(share * 100).toFixed(1)} %`]
    console.log(`| ${cells.join(' | ')} | ${GOAL * 100} % | ${share <= GOAL ? 'yes' : 'no'} |`)
  }
  report([], settings, { scan: rows })
}

const WORK: readonly (readonly [string, string])[] = [
  ['large transactions', 'insert into t select i, md5(i::text) from generate_series(1, 50000) i'],
  [
    'small transactions',
    'do $$ begin for i in 1..20000 loop insert into t values (i, md5(i::text)); commit; end loop; end $$',
  ],
]

/** Finished segments that this work has filled. */
async function segmentsOf(cluster: Cluster, work: string, count: number): Promise<string[]> {
  await cluster.query('create table if not exists t (id int, name text)')
  const current = async () =>
    String((await cluster.query('select pg_walfile_name(pg_current_wal_lsn()) as name'))[0]?.['name'])
  await cluster.query('select pg_switch_wal()')
  const first = await current()
  const wal = join(cluster.dataDir, 'pg_wal')
  for (;;) {
    await cluster.query(work)
    const now = await current()
    const names = readdirSync(wal).filter((name) => /^[0-9A-F]{24}$/.test(name) && name > first && name < now)
    if (names.length >= count)
      return names
        .sort()
        .slice(0, count)
        .map((name) => join(wal, name))
  }
}

/** CPU of one segment, the least of some rounds. */
async function costOf(paths: readonly string[], repo: string, cluster: Cluster, { codec, level }: Settings) {
  let commits = 0
  const scanMs = await leastCpu(() => {
    commits = 0
    for (const path of paths) {
      const scan = scanOf(path.slice(-24))!
      scan.push(readCached(path))
      commits += scan.result()!.times.commits
    }
  })
  const wholeMs = await leastCpu(async () => {
    rmSync(join(repo, 'archive/main', `${cluster.version}-1`), { recursive: true, force: true })
    for (const path of paths)
      await pushWal({
        stanza: 'main',
        path: textToBytes(path),
        files: localFiles(),
        repositories: [repositoryWith(posixStorage(repo))],
        compression: { type: codec as CompressType, level },
        headerCheck: true,
        warnWhenArchived: false,
        log: silentLogger,
        signal: new AbortController().signal,
      })
  })
  const each = (ms: number) => ms / paths.length
  return { segments: paths.length, commits, scanMs: each(scanMs), pushMs: each(wholeMs - scanMs) }
}

const contents = new Map<string, Buffer>()
/** The push has the bytes already. */
function readCached(path: string): Buffer {
  const content = contents.get(path) ?? readFileSync(path)
  contents.set(path, content)
  return content
}

async function leastCpu(work: () => void | Promise<void>): Promise<number> {
  const rounds: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage()
    await work()
    const { user, system } = process.cpuUsage(before)
    rounds.push((user + system) / 1000)
  }
  return Math.min(...rounds)
}
