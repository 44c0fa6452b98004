/** What the benchmark is asked to do; sizes in MiB. */
export interface Settings {
  readonly sizeMiB: number
  readonly runs: number
  readonly codec: string
  readonly level: number
  readonly processMax: number
  readonly segments: number
  readonly out: string
  /** Run only the jobs whose name contains this. */
  readonly only: string
}

export const PGBACKREST = process.env['PGTS_TEST_PGBACKREST'] ?? 'pgbackrest'

export function parseSettings(args: readonly string[]): Settings {
  const given = new Map(args.map((arg) => arg.replace(/^--/, '').split('=') as [string, string]))
  const number = (name: string, standard: number) => Number(given.get(name) ?? standard)
  const codec = given.get('codec') ?? 'zst'
  return {
    sizeMiB: number('size', 1024),
    runs: number('runs', 3),
    codec,
    level: number('level', { gz: 6, lz4: 1, zst: 3, bz2: 9 }[codec] ?? 0),
    processMax: number('process-max', 2),
    segments: number('segments', 20),
    out: given.get('out') ?? 'bench-results/bench.json',
    only: given.get('only') ?? '',
  }
}
