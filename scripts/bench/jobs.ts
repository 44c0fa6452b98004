import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, reachableNode } from '../../test/support/postgres/postgres.ts'
import { lifeJobs } from './life-jobs.ts'
import {
  changeALittle,
  damage,
  emptyTarget,
  memoryTarget,
  type Program,
  type Variant,
  restoreWords,
} from './programs.ts'
import type { Settings } from './settings.ts'

export interface Job {
  readonly name: string
  readonly variant: Variant
  /** Once before the runs of both programs. */
  prepareRun?(run: number): Promise<void>
  /** Restores the initial state of the measured command. */
  prepare?(tested: Program): void | Promise<void>
  command(tested: Program): readonly string[]
  /** Removes the results of the measured command. */
  after?(tested: Program): void
  /** Compare the stored size of the newest backup. */
  readonly sizes?: true
}

/** @param finished names of all finished segments in pg_wal of the cluster */
export function jobsFor(cluster: Cluster, finished: readonly string[], blocks: boolean, settings: Settings): Job[] {
  const wal = finished.slice(0, settings.segments)
  const common = (tested: Program) => [tested.program, `--config=${tested.config}`, '--stanza=main']
  const backup = (type: string) => (tested: Program) => [...common(tested), `--type=${type}`, 'backup']
  const restore =
    (...args: string[]) =>
    (tested: Program) => [...common(tested), `--pg1-path=${tested.target}`, ...args, ...restoreWords(tested)]
  const eachSegment = (tested: Program, command: (segment: string) => string): string[] => {
    const start = common(tested)
      .map((word) => `'${word}'`)
      .join(' ')
    return ['sh', '-ec', wal.map((segment) => `${start} ${command(segment)}`).join('\n')]
  }
  let round = 0
  const change = { prepareRun: () => changeALittle(cluster, ++round) }
  const chain = (variant: 'bundle' | 'block', words: string): Job[] => [
    { name: `full backup, ${words}`, variant, command: backup('full'), sizes: true },
    { name: `incr after small changes, ${words}`, variant, ...change, command: backup('incr'), sizes: true },
    { name: `restore of the incr, ${words}`, variant, prepare: emptyTarget, command: restore() },
    { name: `delta restore, nothing to do, ${words}`, variant, command: restore('--delta') },
  ]
  const recovery = join(cluster.dataDir, 'pg_wal/RECOVERYXLOG')
  const archive = (tested: Program) => join(tested.dir, 'repo/archive/main', `${cluster.version}-1`)
  return [
    { name: 'version', variant: 'plain', command: (tested) => [tested.program, 'version'] },
    {
      name: 'node -e 0, beside which pgts version is to be seen',
      variant: 'plain',
      command: (tested) => (tested.name === 'pgts' ? [reachableNode(), '-e', '0'] : [tested.program, 'version']),
    },
    { name: 'full backup, a file each', variant: 'plain', command: backup('full'), sizes: true },
    { name: 'restore, a file each', variant: 'plain', prepare: emptyTarget, command: restore() },
    {
      name: 'read and prove everything (restore to memory)',
      variant: 'plain',
      prepare: (tested) => emptyTarget(tested, memoryTarget(tested)),
      command: (tested) => [...common(tested), `--pg1-path=${memoryTarget(tested)}`, ...restoreWords(tested)],
      after: (tested) => rmSync(memoryTarget(tested), { recursive: true, force: true }),
    },
    {
      name: 'delta restore, one file in ten damaged, a file each',
      variant: 'plain',
      prepare: (tested) => damage(tested.target),
      command: restore('--delta'),
    },
    { name: 'delta restore, nothing to do, a file each', variant: 'plain', command: restore('--delta') },
    {
      name: 'incr after small changes, a file each',
      variant: 'plain',
      ...change,
      command: backup('incr'),
      sizes: true,
    },
    { name: 'full backup, encrypted', variant: 'encrypted', command: backup('full'), sizes: true },
    { name: 'restore, encrypted', variant: 'encrypted', prepare: emptyTarget, command: restore() },
    ...chain('bundle', 'bundled'),
    ...(blocks ? chain('block', 'block incremental') : []),
    {
      name: `archive-push (${wal.length} segments, one call each)`,
      variant: 'plain',
      prepare: (tested) => rmSync(archive(tested), { recursive: true, force: true }),
      command: (tested) =>
        eachSegment(tested, (segment) => `archive-push '${join(cluster.dataDir, 'pg_wal', segment)}'`),
    },
    {
      name: `archive-get (${wal.length} segments, one call each)`,
      variant: 'plain',
      // A server removes the file before the next call.
      command: (tested) => eachSegment(tested, (segment) => `archive-get ${segment} '${recovery}'\nrm '${recovery}'`),
    },
    ...lifeJobs(cluster, settings),
  ]
}
