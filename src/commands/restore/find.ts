import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { Repository } from '../../core/repository.ts'
import { ArchivedWal } from '../../core/restore/archived-wal.ts'
import { insideBackup, notFound, othersText, stopText } from '../../core/restore/find-messages.ts'
import { TargetSearch } from '../../core/restore/find-target.ts'
import type { FoundTarget } from '../../core/restore/plan-report.ts'
import type { Finding } from '../../core/restore/reachable.ts'
import { mergedSearches, type SearchedWal } from '../../core/restore/searched-wal.ts'
import type { RepositoryBackups, SelectedSet, SetRequest } from '../../core/restore/select-set.ts'
import { checkTargetTimeline } from '../../core/restore/timeline.ts'
import type { TimelinePart } from '../../core/restore/wal-path.ts'
import { segmentSizeFrom } from '../../core/restore/wal-reach.ts'
import type { StopTarget } from '../../core/window/stop-target.ts'
import type { BackupEntry, BackupInfo } from '../../format/backup-info.ts'
import { parseLsn, parseWalSegment, timelineOf, type Lsn } from '../../format/wal-segment.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { isPgtsError } from '../../util/error.ts'
import type { Executor } from '../../worker/executor.ts'
import type { CommandContext } from '../context.ts'
import { majorOf, positionsOf, timeOf } from './archive.ts'
import { recoveryPolicy, type RequestedSet } from './options.ts'
import type { Problems } from './problems.ts'

type Context = CommandContext<'restore'>

/** The backup from which a target is recovered, and the record at which recovery stops. */
export interface FoundSet {
  readonly selected: SelectedSet
  readonly found: FoundTarget
}

/**
 * `--find-target`: searches the archived WAL, and chooses the newest backup that ended before the record.
 *
 * @returns undefined: not requested; or the search found nothing, which is a problem if WAL was searched
 */
export async function findTarget(
  ctx: Context,
  repositories: readonly Repository[],
  backups: readonly RepositoryBackups[],
  request: RequestedSet,
  problems: Problems,
): Promise<FoundSet | undefined> {
  const target = ctx.options.findTarget ? stopTarget(ctx, request) : undefined
  if (target === undefined) return undefined
  const shown = bytesToText(request.target!.text)
  ctx.log.info(`search the archived WAL for the ${NAMES[target.kind]} '${shown}'`)
  await using executor = await ctx.executor(repositories)
  const failed: RepositorySearch[] = []
  for (const { key, info } of backups) {
    const repository = repositories.find((one) => one.key === key)!
    if (info === undefined) continue
    const search = new RepositorySearch({ ctx, target, request, repository, repositories, info, executor })
    const found = await search.run()
    if (found !== undefined) {
      for (const warning of warningsOf(found.found, search.searches)) problems.warn(warning)
      ctx.log.info(`found ${stopText(found.found.stop)}: read ${found.found.segmentsRead} WAL segments`)
      return found
    }
    failed.push(search)
  }
  const finding = failed.map((search) => search.finding(shown)).find((one) => one !== undefined)
  if (finding !== undefined) problems.add(finding)
  return undefined
}

const NAMES = { name: 'restore point', time: 'target time', xid: 'transaction' } as const

/** undefined: nothing can be searched, and the checks of every restore report why. */
function stopTarget({ options, clock }: Context, { target }: RequestedSet): StopTarget | undefined {
  if (target === undefined) return undefined
  const { seconds, text } = target
  switch (options.type) {
    case 'name':
      return { kind: 'name', name: text }
    case 'xid':
      return { kind: 'xid', xid: Number(BigInt(text) & 0xffff_ffffn) }
    case 'time':
      if (seconds === undefined || seconds * 1000 > clock.nowMs()) return undefined
      return { kind: 'time', ...timeOf(target, options.targetExclusive === true)! }
    default:
      return undefined
  }
}

function warningsOf({ stop, others }: FoundTarget, searches: readonly SearchedWal[]): string[] {
  const unreadable = searches.flatMap((search) => search.unreadable.filter(({ segment }) => segment < stop.segment))
  return [
    ...(others.length === 0 ? [] : [othersText(stop, others)]),
    ...unreadable.map(({ segment }) => `WAL segment ${segment} could not be searched: recovery may stop there earlier`),
  ]
}

interface SearchContext {
  readonly ctx: Context
  readonly target: StopTarget
  readonly request: RequestedSet
  readonly repository: Repository
  /** All that recovery reads. */
  readonly repositories: readonly Repository[]
  readonly info: BackupInfo
  readonly executor: Executor<typeof jobHandlers>
}

/** The search with the backups of one repository, newest first. */
class RepositorySearch {
  readonly searches: SearchedWal[] = []
  readonly #context: SearchContext
  readonly #byCluster = new Map<number, Promise<TargetSearch | undefined>>()
  #inside: Finding | undefined

  constructor(context: SearchContext) {
    this.#context = context
  }

  async run(): Promise<FoundSet | undefined> {
    const { info, repository, target } = this.#context
    let mismatch: unknown
    for (const entry of candidates(info, this.#context.request.set)) {
      const { label, historyId, lsnStart, lsnStop, optionArchiveCopy: archiveCopy } = entry
      const search = await this.#searchOf(historyId)
      const span = { lsnStart: parseLsn(lsnStart), lsnStop: parseLsn(lsnStop) }
      const timelines = await this.#timelines(entry, span.lsnStart).catch((error: unknown) => {
        // A newer backup can be on another timeline than the target.
        if (!isPgtsError(error, 'db-mismatch')) throw error
        mismatch ??= error
      })
      if (search === undefined || timelines === undefined) continue
      const { found, before, searched, endLsn } = await search.from({ ...span, archiveCopy, timelines })
      // Without its first segment the backup cannot be used, which the checks of every restore report.
      if (searched.last !== undefined) this.searches.push(searched)
      const [stop, ...others] = found
      if (stop !== undefined && stop.lsn >= span.lsnStop) {
        const selected = { repoKey: repository.key, entry, info }
        return { selected, found: { stop, others, before, segmentsRead: search.read } }
      }
      if (stop !== undefined) this.#inside = insideBackup(stop, label)
      // Later commits are not in the WAL before this backup.
      else if (target.kind === 'time' && endLsn >= span.lsnStop) break
    }
    if (mismatch !== undefined && this.searches.length === 0) throw mismatch
    return undefined
  }

  /** Why nothing was found; undefined: nothing was searched. */
  finding(shown: string): Finding | undefined {
    const searched = mergedSearches(this.searches)
    const { info, target } = this.#context
    const major = majorOf(info.history.find(({ id }) => id === info.currentId) ?? info.history.at(-1)!)
    return this.#inside ?? (searched === undefined ? undefined : notFound(target, shown, searched, major))
  }

  #searchOf(historyId: number): Promise<TargetSearch | undefined> {
    const search = this.#byCluster.get(historyId) ?? this.#openSearch(historyId)
    this.#byCluster.set(historyId, search)
    return search
  }

  async #openSearch(historyId: number): Promise<TargetSearch | undefined> {
    const { ctx, repository, repositories, info, target, executor } = this.#context
    const { stanza, signal, log } = ctx
    const cluster = info.history.find(({ id }) => id === historyId)
    if (cluster === undefined) return undefined
    const archive =
      repository.cipher === undefined ? undefined : await loadArchiveInfo(repository, stanza, { signal, log })
    const wal = new ArchivedWal({
      repositories: [repository, ...repositories.filter((other) => other !== repository)],
      archiveId: `${cluster.version}-${historyId}`,
      cipherPass: archive?.cipherPass,
      ...{ stanza, signal },
    })
    const backups = info.backups.filter((entry) => entry.historyId === historyId)
    const segmentSize = segmentSizeFrom(backups.flatMap(positionsOf)) ?? (await this.#headerSize(wal, backups))
    if (segmentSize === undefined) return undefined
    return new TargetSearch({ wal, stanza, target, segmentSize, major: majorOf(cluster), executor, signal })
  }

  /** The segment size in the header of an archived segment. */
  async #headerSize(wal: ArchivedWal, backups: readonly BackupEntry[]): Promise<number | undefined> {
    const { ctx, executor } = this.#context
    const { stanza, signal } = ctx
    for (const { archiveStop } of [...backups].reverse()) {
      if (archiveStop === null) continue
      const segment = parseWalSegment(archiveStop)
      const job = { stanza, segment, copies: await wal.copiesOf(segment) }
      for await (const { result } of executor.run('scan-wal', [job], { signal }))
        if (result.scanned !== undefined) return result.scanned.segmentSize
    }
    return undefined
  }

  async #timelines(entry: SearchableEntry, lsnStart: Lsn): Promise<TimelinePart[]> {
    const { ctx, request, repository, info } = this.#context
    const { stanza, signal, log } = ctx
    const { label, historyId, archiveStart } = entry
    const version = info.history.find(({ id }) => id === historyId)?.version ?? ''
    const { type, targetTimeline } = recoveryPolicy(ctx, true, request.target)
    const archive =
      repository.cipher === undefined ? undefined : await loadArchiveInfo(repository, stanza, { signal, log })
    return checkTargetTimeline(repository.storage, {
      ...{ stanza, type, targetTimeline, signal },
      archiveId: `${version}-${historyId}`,
      cipherPass: archive?.cipherPass,
      major: majorOf({ version }),
      backup: { label, timeline: timelineOf(archiveStart), lsnStart },
    })
  }
}

type SearchableEntry = BackupEntry & { archiveStart: string; lsnStart: string; lsnStop: string }

/** The backups that can be chosen, newest first: as without a search, but for transactions and names also older ones. */
function candidates({ backups, currentId }: BackupInfo, set: SetRequest): SearchableEntry[] {
  const canSearch = (entry: BackupEntry): entry is SearchableEntry =>
    entry.optionOnline && entry.archiveStart !== null && entry.lsnStart !== undefined && entry.lsnStop !== undefined
  const isChosen = (entry: BackupEntry) => {
    switch (set.kind) {
      case 'set':
        return entry.label === set.label
      case 'time':
        return entry.timestampStop < Math.floor(set.target)
      default:
        return entry.historyId >= currentId
    }
  }
  return backups.filter(canSearch).filter(isChosen).reverse()
}
