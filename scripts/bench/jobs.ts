import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Cluster, reachableNode } from '../../test/support/postgres/postgres.ts'
import { lifeJobs } from './life-jobs.ts'
import { changeALittle, damage, emptyTarget, memoryTarget, type Program, type Variant } from './programs.ts'
import type { Settings } from './settings.ts'

export interface Job {
  readonly name: string
  readonly variant: Variant
  /** Once before both programs have their turn. */
  prepareRun?(run: number): Promise<void>
  /** Brings everything back to where the measured command starts from. */
  prepare?(who: Program): void | Promise<void>
  command(who: Program): readonly string[]
  /** Cleans up what the measured command left. */
  after?(who: Program): void
  /** Compare what the newest backup stores. */
  readonly sizes?: true
}

/** @param finished names of all finished segments in pg_wal of the cluster */
export function jobsFor(cluster: Cluster, finished: readonly string[], blocks: boolean, settings: Settings): Job[] {
  const wal = finished.slice(0, settings.segments)
  const common = (who: Program) => [who.program, `--config=${who.config}`, '--stanza=main']
  const backup = (type: string) => (who: Program) => [...common(who), `--type=${type}`, 'backup']
  const restore =
    (...args: string[]) =>
    (who: Program) => [...common(who), `--pg1-path=${who.target}`, ...args, 'restore']
  const eachSegment = (who: Program, command: (segment: string) => string): string[] => {
    const start = common(who)
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
  ]
  const archive = (who: Program) => join(who.dir, 'repo/archive/main', `${cluster.version}-1`)
  return [
    { name: 'version', variant: 'plain', command: (who) => [who.program, 'version'] },
    {
      name: 'node -e 0, beside which pgts version is to be seen',
      variant: 'plain',
      command: (who) => (who.name === 'pgts' ? [reachableNode(), '-e', '0'] : [who.program, 'version']),
    },
    { name: 'full backup', variant: 'plain', command: backup('full'), sizes: true },
    { name: 'restore', variant: 'plain', prepare: emptyTarget, command: restore() },
    {
      name: 'read and prove everything (restore to memory)',
      variant: 'plain',
      prepare: (who) => emptyTarget(who, memoryTarget(who)),
      command: (who) => [...common(who), `--pg1-path=${memoryTarget(who)}`, 'restore'],
      after: (who) => rmSync(memoryTarget(who), { recursive: true, force: true }),
    },
    { name: 'delta restore', variant: 'plain', prepare: (who) => damage(who.target), command: restore('--delta') },
    { name: 'incr after small changes', variant: 'plain', ...change, command: backup('incr'), sizes: true },
    { name: 'full backup, encrypted', variant: 'encrypted', command: backup('full'), sizes: true },
    { name: 'restore, encrypted', variant: 'encrypted', prepare: emptyTarget, command: restore() },
    ...chain('bundle', 'bundled'),
    ...(blocks ? chain('block', 'block incremental') : []),
    {
      name: `archive-push (${wal.length} segments, one call each)`,
      variant: 'plain',
      prepare: (who) => rmSync(archive(who), { recursive: true, force: true }),
      command: (who) => eachSegment(who, (segment) => `archive-push '${join(cluster.dataDir, 'pg_wal', segment)}'`),
    },
    {
      name: `archive-get (${wal.length} segments, one call each)`,
      variant: 'plain',
      command: (who) => eachSegment(who, (segment) => `archive-get ${segment} '${join(who.dir, 'wal', segment)}'`),
    },
    ...lifeJobs(cluster, settings),
  ]
}
