import { waitForSegments } from '../core/archive/wait-for-wal.ts'
import type { Repository } from '../core/repository.ts'
import { checkServer } from '../core/stanza/check-config.ts'
import { checkStanzaInfo, isSameHistory } from '../core/stanza/check-info.ts'
import { parseWalSegment } from '../format/wal-segment.ts'
import { switchWal } from '../postgres/backup-session.ts'
import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { connectClusters, type Clusters, type ConnectedCluster } from './shared/primary.ts'
import { repoId } from '../util/repo-id.ts'

export interface CheckReport {
  readonly stanza: string
  readonly clusters: readonly { readonly pgKey: number; readonly role: 'primary' | 'standby' }[]
  readonly repositories: readonly {
    readonly repoKey: number
    readonly archiveId: string
    /** The segment that was switched for the test, and its place in each repository; absent with --no-archive-check. */
    readonly archived?: { readonly segment: string; readonly repoName: string }
  }[]
}

/** Check that backups can work: settings, info files, and archiving of one WAL segment to each repository. */
export async function check(ctx: CommandContext<'check'>): Promise<CheckReport> {
  await using clusters = await connectClusters(ctx)
  requireCluster(ctx, clusters)
  const { primary, standbys } = clusters
  if (primary === undefined && !mayLackPrimary(ctx)) throw noPrimary()
  const { backupStandby } = ctx.options
  // With `only` each host has its own server alone, and this may be the primary's host.
  if (standbys.length === 0 && (backupStandby === 'y' || backupStandby === 'prefer'))
    ctx.log.warn(`backup-standby is ${backupStandby}, but no standby answers`)

  const repositories = await ctx.repositories()
  let known: CheckReport['repositories'] = []
  for (const standby of standbys) known = await checkStandby(ctx, standby, repositories)
  return {
    stanza: ctx.stanza,
    clusters: clusters.all.map(({ cluster, server }) => ({
      pgKey: cluster.key,
      role: server.facts.inRecovery ? 'standby' : 'primary',
    })),
    repositories: primary === undefined ? known : await checkPrimary(ctx, primary, repositories),
  }
}

/** @throws PgtsError config if no server can be checked */
function requireCluster({ options, stanzaHints }: CommandContext<'check'>, { all }: Clusters): void {
  if (all.length > 0) return
  if (options.pg.every(({ path }) => path === undefined)) {
    throw new PgtsError('config', 'no stanzas found to check', {
      hints: ['name the cluster: --stanza=NAME', ...stanzaHints],
    })
  }
  throw new PgtsError('config', 'no server of this stanza can be checked', {
    hints: [
      'check that the server is running; see the warning above',
      'check pg1-path, pg1-port and pg1-socket-path in the configuration',
    ],
  })
}

/** True on a standby that takes backups by itself, and on the host of a standby whose repository is on another host. */
function mayLackPrimary({ options: { backupStandby, pg, repo } }: CommandContext<'check'>): boolean {
  return backupStandby === 'only' || (pg.length === 1 && repo.every(({ host }) => host !== undefined))
}

function noPrimary(): PgtsError {
  return new PgtsError('config', 'the primary was not found: every server of this stanza that answers is a standby', {
    hints: ['run check on the host of the primary', 'check pg1-path and pg1-port in the configuration'],
  })
}

async function checkStandby(
  ctx: CommandContext<'check'>,
  { cluster, control, server }: ConnectedCluster,
  repositories: readonly Repository[],
): Promise<CheckReport['repositories']> {
  const { log, signal, stanza } = ctx
  const { pgPath } = cluster
  checkServer(server.facts, { pgPath, version: control.version }, { archive: false, archiveMode: false })
  const report: CheckReport['repositories'][number][] = []
  for (const repository of repositories) {
    const { key } = repository
    log.info({ repo: key }, `check ${repoId(key)} (standby)`)
    const { archiveId } = await checkStanzaInfo(repository, stanza, control, { signal, log })
    report.push({ repoKey: key, archiveId })
  }
  log.info({ pg: cluster.key }, 'switch wal not performed because this is a standby')
  return report
}

async function checkPrimary(
  ctx: CommandContext<'check'>,
  primary: ConnectedCluster,
  repositories: readonly Repository[],
): Promise<CheckReport['repositories']> {
  const { options, log, signal, stanza, clock } = ctx
  const { cluster, control, server } = primary
  const policy = { archive: options.archiveCheck && ctx, archiveMode: options.archiveModeCheck }
  checkServer(server.facts, { pgPath: cluster.pgPath, version: control.version }, policy)
  await cluster.refuseCopy()

  const checked: { repository: Repository; archiveId: string }[] = []
  for (const repository of repositories) {
    const { key } = repository
    log.info({ repo: key }, `check ${repoId(key)} configuration (primary)`)
    const { archiveId, archiveInfo, backupInfo } = await checkStanzaInfo(repository, stanza, control, {
      signal,
      log,
    })
    if (!isSameHistory(archiveInfo, backupInfo)) {
      log.warn(
        { repo: key },
        `archive.info and backup.info on ${repoId(key)} list different former clusters` +
          '\nHINT: pgbackrest then refuses expire and verify: check whether one of them was restored from an older copy',
      )
    }
    checked.push({ repository, archiveId })
  }
  if (!policy.archive) return checked.map(({ repository, archiveId }) => ({ repoKey: repository.key, archiveId }))

  // One segment for all repositories: each must receive it.
  const segment = parseWalSegment(await switchWal(server))
  const report: CheckReport['repositories'][number][] = []
  for (const { repository, archiveId } of checked) {
    const { key, storage } = repository
    log.info({ repo: key }, `check ${repoId(key)} archive for WAL (primary)`)
    const [archived] = await waitForSegments({
      repository,
      stanza,
      archiveId,
      segments: [segment],
      timeoutMs: options.archiveTimeout,
      clock,
      signal,
      log,
      explain: (name) => cluster.explainWal(name, { patienceMs: options.archiveTimeout, server }),
    })
    if (archived === undefined) throw new PgtsError('assert', `no repository was checked for ${segment}`)
    const where = `${storage.display}/${bytesToText(archived.repoName)}`
    log.info({ repo: key, segment }, `WAL segment ${segment} successfully archived to '${where}' on ${repoId(key)}`)
    report.push({ repoKey: key, archiveId, archived: { segment, repoName: archived.repoName } })
  }
  return report
}
