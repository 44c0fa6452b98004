import { clusterIn, findLocalClusters, type LocalCluster } from '../../postgres/discover/find-clusters.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { ownerOf } from './owner.ts'
import type { Dialogue } from './ports.ts'
import type { Questions } from './questions.ts'

/** A cluster whose server runs. */
export type RunningCluster = LocalCluster & Required<Pick<LocalCluster, 'port' | 'postmaster'>>

/** The cluster of --pg1-path, or of PGDATA, PGPORT and PGHOST, or the only one that runs, or the one that is chosen. */
export async function chooseCluster(
  ctx: CommandContext<'init'>,
  dialogue: Dialogue,
  questions: Questions,
): Promise<RunningCluster> {
  const wanted = ctx.isSet('pg1-path') ? ctx.options.pg[0]?.path : undefined
  if (wanted !== undefined) {
    const cluster = clusterIn(wanted)
    if (cluster === undefined) {
      throw new PgtsError('path-missing', `${wanted} is not a data directory of PostgreSQL, or cannot be read`, {
        hints: ['pg1-path is the directory that has PG_VERSION: show data_directory'],
      })
    }
    return requireRunning(cluster)
  }
  const { PGDATA, PGHOST } = ctx.env
  const { clusters, unreadable } = findLocalClusters({
    pgdata: PGDATA,
    socketDirectory: PGHOST?.startsWith('/') === true ? PGHOST : undefined,
  })
  const named = clusters.filter((cluster) => isNamed(cluster, ctx))
  if (named.length === 1) return requireRunning(named[0]!)
  const running = clusters.filter(isRunning)
  if (running.length === 1) return running[0]!
  const candidates = running.length === 0 ? clusters : running
  if (candidates.length === 0) throw noneFound(unreadable)
  if (running.length === 0) return requireRunning(candidates[0]!)
  return ask(running, dialogue, questions)
}

async function ask(
  running: readonly RunningCluster[],
  dialogue: Dialogue,
  questions: Questions,
): Promise<RunningCluster> {
  if (dialogue.interactive) {
    dialogue.say('Clusters on this host:')
    running.forEach((cluster, at) => dialogue.say(`  ${at + 1}  ${describeCluster(cluster)}`))
  }
  const paths = running.map(({ dataDirectory }) => dataDirectory)
  const pick = (answer: string) => running[Number(answer) - 1] ?? running[paths.indexOf(answer)]
  const answer = await questions.text({
    flag: '--pg1-path',
    text: 'Which one',
    given: undefined,
    problem: (typed) => (pick(typed) === undefined ? 'enter a number of the list' : undefined),
  })
  const chosen = pick(answer)
  if (chosen !== undefined) return chosen
  throw new PgtsError('option-required', 'init needs --pg1-path: several clusters run on this host', {
    hints: running.map((cluster) => `--pg1-path=${cluster.dataDirectory} (port ${cluster.port})`),
  })
}

/** `PostgreSQL 17, port 5432, user postgres, /var/lib/postgresql/17/main` */
export function describeCluster(cluster: RunningCluster): string {
  return `PostgreSQL ${cluster.version}, port ${cluster.port}, user ${ownerOf(cluster).name}, ${cluster.dataDirectory}`
}

function isNamed(cluster: LocalCluster, { env, options, isSet }: CommandContext<'init'>): boolean {
  const port = isSet('pg1-port') ? options.pg[0]?.port : Number(env['PGPORT'] ?? NaN)
  if (!Number.isNaN(port)) return cluster.port === port
  const [pgdata, pghost] = [env['PGDATA'], env['PGHOST']]
  if (pgdata !== undefined && pgdata !== '') return cluster.dataDirectory === clusterIn(pgdata)?.dataDirectory
  return pghost !== undefined && pghost.startsWith('/') && cluster.socketDirectory === pghost
}

function isRunning(cluster: LocalCluster): cluster is RunningCluster {
  return cluster.postmaster !== undefined && cluster.port !== undefined
}

function requireRunning(cluster: LocalCluster): RunningCluster {
  if (isRunning(cluster)) return cluster
  throw new PgtsError('db-connect', `the server of ${cluster.dataDirectory} is not running`, {
    hints: ['start PostgreSQL, then run init again', 'a cluster of another host is set up on that host'],
  })
}

function noneFound(unreadable: readonly { readonly pid: number }[]): PgtsError {
  const pids = unreadable.map(({ pid }) => pid).join(', ')
  return new PgtsError('db-connect', 'no cluster was found on this host', {
    hints: [
      ...(pids === '' ? [] : [`process ${pids} is a server whose files this user cannot read: sudo pgts init`]),
      'name its data directory: --pg1-path=DIRECTORY',
      'init searches running servers, PGDATA, and the usual directories of packages',
    ],
  })
}
