import { stat } from 'node:fs/promises'
import type { RepositoryFacts, Site, StanzaState } from '../../core/doctor/facts.ts'
import { readStanza } from '../../core/info/stanza-repo.ts'
import { STATUS } from '../../core/info/report.ts'
import { loadArchiveInfo } from '../../core/archive-info-store.ts'
import type { Repository } from '../../core/repository.ts'
import { loadMemory } from '../../core/verify/memory.ts'
import { currentHistory } from '../../format/archive-info.ts'
import { isBackupLabel } from '../../format/backup-label.ts'
import { backupInfoName, backupLabelPath, backupPath, copyName, manifestName } from '../../format/repo-path.ts'
import { textPath } from '../../util/byte-string.ts'
import { PgtsError, toPlainError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

/** Shorter than the deadline of all facts: a repository that does not answer must not hide the others. */
const DEADLINE_MS = 20_000

export async function repositoryFacts(
  ctx: CommandContext<'doctor'>,
  site: Site,
  signal: AbortSignal,
): Promise<readonly RepositoryFacts[]> {
  return Promise.all(
    (await ctx.repositories()).map(async (repository): Promise<RepositoryFacts> => {
      const { key } = repository
      const deadline = AbortSignal.timeout(DEADLINE_MS)
      try {
        return { key, ...(await stateOf(repository, site, AbortSignal.any([signal, deadline]))) }
      } catch (error) {
        signal.throwIfAborted()
        const { message, hints } = deadline.aborted
          ? { message: `no answer within ${DEADLINE_MS / 1000} s`, hints: [] }
          : toPlainError(error)
        return { key, failure: { message, hints } }
      }
    }),
  )
}

async function stateOf(
  repository: Repository,
  site: Site,
  signal: AbortSignal,
): Promise<{ readonly display: string; readonly stanza?: StanzaState }> {
  const { storage } = repository
  const { stanza } = site
  const found = await readStanza({ repository, stanza, windows: true, drills: true, signal })
  if (found.status.code === STATUS.missingData) return { display: storage.display }
  if (found.current === undefined || !found.readable) throw unreadable(found.status.message)
  const [archiveInfo, verified, info] = await Promise.all([
    loadArchiveInfo(repository, stanza, { signal }),
    loadMemory(storage, stanza, signal),
    storage.stat(backupInfoName(stanza), { signal }),
  ])
  const { systemId, version } = currentHistory(archiveInfo)
  const directory = await directoryOf(site, repository)
  return {
    display: storage.display,
    stanza: {
      current: found.current,
      archiveCurrent: { systemId, version },
      archives: found.archives,
      backups: found.backups,
      unfinished: await unfinishedIn(repository, stanza, new Set(found.backups.map(({ label }) => label)), signal),
      verified,
      ...(found.drill === undefined ? {} : { drill: found.drill.record }),
      infoMs: info?.mtimeMs ?? 0,
      ...(directory === undefined ? {} : { directory }),
    },
  }
}

/** `[CryptoError] message` with lines of hints, as `info` shows it. */
function unreadable(status: string): PgtsError {
  const [message = '', ...more] = status.split('\n')
  const hints = more.flatMap((line) => (line.startsWith('HINT: ') ? [line.slice(6)] : []))
  return new PgtsError('file-read', message.replace(/^\[\w+\] /, ''), { hints })
}

/** Directories of backups that are neither listed nor complete. */
async function unfinishedIn(
  { storage }: Repository,
  stanza: string,
  listed: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<StanzaState['unfinished']> {
  const path = backupPath(stanza)
  const unfinished: { label: string; changedMs: number }[] = []
  for await (const { name, kind } of storage.list(path, { namesOnly: true, signal })) {
    const label = name.slice(path.length + 1)
    if (kind !== 'path' || !isBackupLabel(label) || listed.has(label)) continue
    const manifest = manifestName(stanza, label)
    if ((await storage.stat(manifest, { signal })) !== undefined) continue
    const last =
      (await storage.stat(copyName(manifest), { signal })) ??
      (await storage.stat(backupLabelPath(stanza, label), { signal }))
    unfinished.push({ label, changedMs: last?.mtimeMs ?? 0 })
  }
  return unfinished
}

async function directoryOf({ repos }: Site, { key }: Repository): Promise<StanzaState['directory']> {
  const settings = repos.find((repo) => repo.key === key)
  if (settings?.type !== 'posix') return undefined
  const { mode, uid } = await stat(textPath(settings.path))
  return { path: settings.path, mode: mode & 0o7777, uid }
}
