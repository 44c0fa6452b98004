import { dirname, join } from 'node:path'
import type { BenchBucket } from './bucket.ts'
import type { Job } from './jobs.ts'
import type { ClusterName, Clusters } from './clusters.ts'
import { changeALittle, emptyTarget, type Program, switchWal, type Variant, restoreWords } from './programs.ts'
import type { Settings } from './settings.ts'

export interface ObjectJob extends Job {
  readonly cluster: ClusterName
}

export interface ObjectJobContext {
  readonly settings: Settings
  readonly bucket: BenchBucket
  readonly clusters: Clusters
  /** Do both programs support block incremental? */
  readonly blocks: boolean
  /** Run a command without the slow network. */
  direct(tested: Program, ...args: string[]): Promise<{ readonly stdout: string }>
}

/** Jobs on a repository in the bucket. */
export const repoPath = (name: string, cluster: ClusterName, variant: Variant) => `${name}-${cluster}-${variant}`

const common = (tested: Program) => [tested.program, `--config=${tested.config}`, '--stanza=main']
const backup = (type: string) => (tested: Program) => [...common(tested), `--type=${type}`, 'backup']
const restore = {
  prepare: (tested: Program) => emptyTarget(tested),
  command: (tested: Program) => [...common(tested), `--pg1-path=${tested.target}`, ...restoreWords(tested)],
}

export function objectJobs(context: ObjectJobContext): ObjectJob[] {
  const { settings, clusters, blocks } = context
  let round = 0
  const change = { prepareRun: async () => changeALittle(await clusters.get('large'), ++round) }
  const chain = (variant: Variant, words: string): ObjectJob[] => {
    const where = { cluster: 'large', variant } as const
    return [
      { name: `full backup, ${words}`, ...where, command: backup('full'), sizes: true },
      { name: `restore of the full, ${words}`, ...where, ...restore },
      { name: `incr after small changes, ${words}`, ...where, ...change, command: backup('incr'), sizes: true },
      { name: `restore of the incr, ${words}`, ...where, ...restore },
    ]
  }
  const many = (variant: Variant, words: string): ObjectJob[] => {
    const where = { cluster: 'small', variant } as const
    const what = `${settings.tables} small tables, ${words}`
    return [
      { name: `full backup of ${what}`, ...where, command: backup('full'), sizes: true },
      { name: `restore of ${what}`, ...where, ...restore },
    ]
  }
  return [
    ...chain('plain', 'a file each'),
    ...chain('bundle', 'bundled'),
    ...(blocks ? chain('block', 'block incremental') : []),
    ...many('plain', 'a file each'),
    ...many('bundle', 'bundled'),
    expire(context),
    ...archive(context),
    verify(context),
    info(context),
  ]
}

/** Expires an old backup with many objects. */
function expire({ settings, bucket, direct }: ObjectJobContext): ObjectJob {
  return {
    name: `expire of ${settings.objects} objects`,
    cluster: 'empty',
    variant: 'bundle',
    async prepare(tested) {
      type Info = { backup: { label: string }[] }[]
      const labels = async () =>
        (JSON.parse((await direct(tested, '--output=json', 'info')).stdout) as Info)[0]!.backup.map(
          ({ label }) => label,
        )
      while ((await labels()).length < 2) await direct(tested, '--type=full', 'backup')
      const [oldest = ''] = await labels()
      await bucket.fill(
        `${repoPath(tested.name, 'empty', 'bundle')}/backup/main/${oldest}/pg_data/filled/`,
        settings.objects,
      )
    },
    command: (tested) => [...common(tested), '--repo1-retention-full=1', 'expire'],
  }
}

function archive({ settings, bucket, clusters }: ObjectJobContext): ObjectJob[] {
  const where = { cluster: 'large', variant: 'plain' } as const
  let wal: string[] = []
  const prepareRun = async () => {
    wal = (await clusters.finishedWal('large')).slice(0, settings.segments)
  }
  const each = (tested: Program, command: (path: string, name: string) => string): string[] => {
    const start = common(tested)
      .map((word) => `'${word}'`)
      .join(' ')
    return ['sh', '-ec', wal.map((path) => `${start} ${command(path, path.slice(-24))}`).join('\n')]
  }
  return [
    {
      name: `archive-push (at most ${settings.segments} segments, one call each)`,
      ...where,
      prepareRun,
      prepare: (tested) => bucket.remove(`${repoPath(tested.name, 'large', 'plain')}/archive/main/15-1/`),
      command: (tested) => each(tested, (path) => `archive-push '${path}'`),
    },
    {
      name: `archive-get (at most ${settings.segments} segments, one call each)`,
      ...where,
      prepareRun,
      // As a server calls it, which removes the file before the next call.
      command: (tested) =>
        each(tested, (path, name) => {
          const recovery = join(dirname(path), 'RECOVERYXLOG')
          return `archive-get ${name} '${recovery}'\nrm '${recovery}'`
        }),
    },
  ]
}

/**
 * A directory of 256 segments has one object here: info lists the directories, and the first and the last of them. The commit
 * times of all segments are recorded, which only pgts reads.
 */
function info({ settings, bucket, direct }: ObjectJobContext): ObjectJob {
  const filled = new Set<string>()
  return {
    name: `info, the directories of ${settings.infoSegments} segments in the archive`,
    cluster: 'empty',
    variant: 'plain',
    async prepare(tested) {
      if (filled.has(tested.name)) return
      filled.add(tested.name)
      await direct(tested, '--type=full', 'backup')
      const repo = repoPath(tested.name, 'empty', 'plain')
      await bucket.fillArchive(`${repo}/archive/main/15-1/`, settings.infoSegments / 256)
      if (tested.name === 'pgts')
        await bucket.fillTimes(`${repo}/pgts/main/wal-times/15-1/`, settings.infoSegments / 256)
    },
    command: (tested) => [...common(tested), 'info'],
  }
}

/** With all WAL in the archive that the backups need. */
function verify({ clusters, direct }: ObjectJobContext): ObjectJob {
  return {
    name: 'verify',
    cluster: 'large',
    variant: 'plain',
    async prepare(tested) {
      if (!(await direct(tested, 'info')).stdout.includes('full backup')) await direct(tested, '--type=full', 'backup')
      await switchWal(await clusters.get('large'))
      for (const path of await clusters.finishedWal('large')) await direct(tested, 'archive-push', path)
    },
    command: (tested) => [...common(tested), 'verify'],
  }
}
