import { waitForSegments } from '../core/archive/wait-for-wal.ts'
import type { Repository } from '../core/repository.ts'
import { checkServer } from '../core/stanza/check-config.ts'
import { checkStanzaInfo, isSameHistory } from '../core/stanza/check-info.ts'
import { parseWalSegment } from '../format/wal-segment.ts'
import { switchWal } from '../postgres/backup-session.ts'
import type { ServerConnection } from '../postgres/client.ts'
import type { ClusterAccess } from '../postgres/cluster-access.ts'
import { readControlFile, type ControlFile } from '../postgres/control-file.ts'
import { bytesToText } from '../util/byte-string.ts'
import { EXIT_CODES, PgtsError, toPlainError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
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

/** A configured cluster whose server answers. */
interface Checked {
  readonly cluster: ClusterAccess
  readonly control: ControlFile
  readonly server: ServerConnection
}

/** Check that backups can work: settings, info files, and archiving of one WAL segment to each repository. */
export async function check(ctx: CommandContext<'check'>): Promise<CheckReport> {
  const open: ServerConnection[] = []
  try {
    const clusters = await findClusters(ctx, open)
    const primaries = clusters.filter(({ server }) => !server.facts.inRecovery)
    const standbys = clusters.filter(({ server }) => server.facts.inRecovery)
    const primary = requirePrimary(primaries)
    const repositories = await ctx.repositories()
    for (const standby of standbys) await checkStandby(ctx, standby, repositories)
    return {
      stanza: ctx.stanza,
      clusters: clusters.map(({ cluster, server }) => ({
        pgKey: cluster.key,
        role: server.facts.inRecovery ? 'standby' : 'primary',
      })),
      repositories: await checkPrimary(ctx, primary, repositories),
    }
  } finally {
    for (const server of open) await server[Symbol.asyncDispose]()
  }
}

/** Every configured cluster whose server answers. A server that does not is a warning, unless none answers. */
async function findClusters(ctx: CommandContext<'check'>, open: ServerConnection[]): Promise<Checked[]> {
  const { options, log, signal } = ctx
  const clusters: Checked[] = []
  for (const [index, pg] of options.pg.entries()) {
    if (pg.path === undefined) continue
    try {
      const cluster = await ctx.cluster(index)
      const { files, pgPath } = cluster
      const control = await readControlFile(files, pgPath, { signal })
      if ((await files.list(pgPath)) === undefined) throw new PgtsError('path-missing', `${pg.path} does not exist`)
      const server = await cluster.connect()
      open.push(server)
      clusters.push({ cluster, control, server })
    } catch (error) {
      signal.throwIfAborted()
      const { code, message, hints } = toPlainError(error)
      const lines = [
        `unable to check pg${pg.key}: [${pad(EXIT_CODES[code])}] ${message}`,
        ...hints.map((hint) => `HINT: ${hint}`),
      ]
      log.warn({ pg: pg.key }, lines.join('\n'))
    }
  }
  if (clusters.length > 0) return clusters
  if (options.pg.every(({ path }) => path === undefined)) {
    throw new PgtsError('config', 'no stanzas found to check', {
      hints: ['name the cluster: --stanza=NAME', ...ctx.stanzaHints],
    })
  }
  throw new PgtsError('config', 'no server of this stanza can be checked', {
    hints: [
      'check that the server is running; see the warning above',
      'check pg1-path, pg1-port and pg1-socket-path in the configuration',
    ],
  })
}

function requirePrimary(primaries: readonly Checked[]): Checked {
  const [primary, second] = primaries
  if (primary === undefined) {
    throw new PgtsError('config', 'the primary was not found: every server of this stanza that answers is a standby', {
      hints: ['run check on the host of the primary', 'check pg1-path and pg1-port in the configuration'],
    })
  }
  if (second !== undefined) {
    throw new PgtsError('db-connect', `pg${primary.cluster.key} and pg${second.cluster.key} are both primaries`, {
      hints: ['check whether a standby was promoted; if these are two clusters, configure a stanza for each'],
    })
  }
  return primary
}

async function checkStandby(
  ctx: CommandContext<'check'>,
  standby: Checked,
  repositories: readonly Repository[],
): Promise<void> {
  const { log, signal, stanza } = ctx
  const { cluster, control, server } = standby
  const { pgPath } = cluster
  checkServer(server.facts, { pgPath, version: control.version }, { archive: false, archiveMode: false })
  for (const repository of repositories) {
    const { key } = repository
    log.info({ repo: key }, `check ${repoId(key)} (standby)`)
    await checkStanzaInfo(repository, stanza, control, { signal, log })
  }
  log.info({ pg: cluster.key }, 'switch wal not performed because this is a standby')
}

async function checkPrimary(
  ctx: CommandContext<'check'>,
  primary: Checked,
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

function pad(code: number): string {
  return String(code).padStart(3, '0')
}
