/** Settings of the benchmark; sizes in MiB. */
export interface Settings {
  readonly sizeMiB: number
  readonly runs: number
  readonly codec: string
  readonly level: number
  readonly processMax: number
  readonly segments: number
  /** How many segments of this size are archived in the background and replayed. */
  readonly archiveSegments: number
  readonly walMiB: number
  readonly out: string
  /** Run only the jobs whose name contains one of these; empty: all. */
  readonly only: readonly string[]
  readonly repo: 'posix' | 's3'
  /** Round trip to the object store or between the hosts, milliseconds. */
  readonly latencyMs: number
  /** Small tables of the second cluster; with an object store. */
  readonly tables: number
  /** Files, or objects, that an expire removes. */
  readonly objects: number
  /** Archived segments that info reads. */
  readonly infoSegments: number
  /** How a PostgreSQL host and a repository host are connected; undefined: one host. */
  readonly remote: 'ssh' | 'tls' | undefined
  /** Files of a cluster that was shut down; 0: a running cluster with rows. */
  readonly files: number
}

export const PGBACKREST = process.env['PGTS_TEST_PGBACKREST'] ?? 'pgbackrest'

/** Is block incremental supported by this release of pgbackrest? */
export const knowsBlocks = (version: string) => Number(/(\d+\.\d+)/.exec(version)?.[1]) >= 2.46

export const isAskedFor = (job: string, { only }: Settings) =>
  only.length === 0 || only.some((part) => job.includes(part))

const NAMES = new Set(
  'size runs codec level process-max segments archive-segments wal-mb out only repo latency tables objects info-segments files remote'.split(
    ' ',
  ),
)

export function parseSettings(args: readonly string[]): Settings {
  const given = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string]))
  const number = (name: string, standard: number) => Number(given.get(name) ?? standard)
  const codec = given.get('codec') ?? 'zst'
  const repo = given.get('repo') ?? 'posix'
  // Without a value it is SSH.
  const remote = given.has('remote') ? (given.get('remote') ?? 'ssh') : undefined
  for (const name of given.keys()) if (!NAMES.has(name)) throw new Error(`--${name} is no option of the benchmark`)
  if (repo !== 'posix' && repo !== 's3') throw new Error(`--repo=${repo}: posix and s3 can be measured`)
  if (remote !== undefined && remote !== 'ssh' && remote !== 'tls')
    throw new Error(`--remote=${remote}: ssh and tls can be measured`)
  return {
    sizeMiB: number('size', repo === 'posix' ? 1024 : 256),
    runs: number('runs', 3),
    codec,
    level: number('level', { gz: 6, lz4: 1, zst: 3, bz2: 9 }[codec] ?? 0),
    processMax: number('process-max', 2),
    segments: number('segments', 20),
    archiveSegments: number('archive-segments', 100),
    walMiB: number('wal-mb', 16),
    out: given.get('out') ?? 'bench-results/bench.json',
    only: given.get('only')?.split(',') ?? [],
    repo,
    latencyMs: number('latency', repo === 's3' ? 20 : 0),
    tables: number('tables', 5000),
    objects: number('objects', 10_000),
    // On a disk each is a file; in an object store a directory of 256 is one object.
    infoSegments: number('info-segments', repo === 'posix' ? 100_000 : 1_000_000),
    files: number('files', 0),
    remote,
  }
}
