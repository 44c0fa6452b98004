import { readFileSync } from 'node:fs'
import { listDrills } from '../core/drill/store.ts'
import { parseExamined, type Examined } from '../core/report/examined.ts'
import { buildInfo } from '../core/info/build.ts'
import { currentArchive, type InfoStanza } from '../core/info/report.ts'
import type { Repository } from '../core/repository.ts'
import type { RepositoryReport, SiteReport, StanzaReport } from '../core/report/report-data.ts'
import { walPerDay } from '../core/report/wal-days.ts'
import { bytesToText, textToBytes } from '../util/byte-string.ts'
import { messageOf, PgtsError } from '../util/error.ts'
import { reasonOf } from '../util/lock-path.ts'
import { readLocks } from '../util/lock.ts'
import type { CommandContext } from './context.ts'

const DAY_SECONDS = 86_400
/** How far back WAL is counted. */
const WAL_DAYS = 90

/** The content of the repositories for a page. A failure of one repository is part of the report. */
export async function report(ctx: CommandContext<'report'>): Promise<SiteReport> {
  const { clock, options, stanza, signal } = ctx
  const createdSeconds = Math.floor(clock.nowMs() / 1000)
  const { stanzas } = await buildInfo({
    repos: await ctx.repositories(),
    stanza: stanza === '' ? undefined : textToBytes(stanza),
    detail: 'full',
    windows: true,
    locksOf: (name) => readLocks(options.lockPath, name),
    signal,
  })
  const examined = (options.findings ?? []).map(readExamined)
  return {
    createdSeconds,
    stanzas: await Promise.all(
      stanzas.map(async (info) => ({
        ...(await stanzaReport(ctx, info, createdSeconds)),
        examined: examined.findLast((one) => one.stanza === bytesToText(info.name)),
      })),
    ),
  }
}

function readExamined(file: string): Examined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new PgtsError('file-open', `cannot read the findings in '${file}': ${reasonOf(error)}`, {
      hints: ['create it by: pgts --stanza=NAME doctor --output=json > FILE'],
      cause: error,
    })
  }
  return parseExamined(text, file)
}

async function stanzaReport(
  ctx: CommandContext<'report'>,
  info: InfoStanza,
  createdSeconds: number,
): Promise<StanzaReport> {
  const repositories = await ctx.repositories()
  const known = info.repos.flatMap(({ key }) => repositories.filter((repository) => repository.key === key))
  return { info, repositories: await Promise.all(known.map((one) => repositoryReport(ctx, info, one, createdSeconds))) }
}

async function repositoryReport(
  ctx: CommandContext<'report'>,
  info: InfoStanza,
  repository: Repository,
  createdSeconds: number,
): Promise<RepositoryReport> {
  const { log, signal } = ctx
  const { key, display, storage } = repository
  const orNothing = async <T>(what: string, read: () => Promise<readonly T[]>): Promise<readonly T[]> => {
    try {
      return await read()
    } catch (error) {
      signal.throwIfAborted()
      log.warn(`cannot list ${what} of ${display}: ${messageOf(error)}`)
      return []
    }
  }
  const archiveId = currentArchive(info.archives.filter(({ repoKey }) => repoKey === key))?.archiveId
  const since = createdSeconds - WAL_DAYS * DAY_SECONDS
  const [wal, drills] = await Promise.all([
    orNothing('the WAL', async () =>
      archiveId === undefined
        ? []
        : walPerDay({ storage, stanza: info.name, archiveId, since, until: createdSeconds, signal }),
    ),
    orNothing('the drills', () => listDrills(repository, info.name, { signal })),
  ])
  return { repoKey: key, wal, drills: drills.toReversed() }
}
