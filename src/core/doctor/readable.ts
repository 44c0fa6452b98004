import { currentArchive, type InfoArchive } from '../info/report.ts'
import type { RepositoryFacts, StanzaState } from './facts.ts'

/** A repository that has the stanza. */
export interface ReadableRepository {
  readonly key: number
  readonly stanza: StanzaState
}

/** Those that could be read and have the stanza; rules of their own report the others. */
export function readable(repositories: readonly RepositoryFacts[]): ReadableRepository[] {
  return repositories.flatMap((repository) =>
    repository.failure === undefined && repository.stanza !== undefined
      ? [{ key: repository.key, stanza: repository.stanza }]
      : [],
  )
}

/** When the last backup ended, ms. */
export function lastBackupMs({ stanza: { backups } }: ReadableRepository): number | undefined {
  return backups.length === 0 ? undefined : Math.max(...backups.map(({ timestampStop }) => timestampStop * 1000))
}

export function newestSegment(repository: ReadableRepository): string | undefined {
  return currentArchive(repository.stanza.archives)?.max ?? undefined
}

export function currentWindow(repository: ReadableRepository): InfoArchive['window'] {
  return currentArchive(repository.stanza.archives)?.window
}

/** The usual time between two backups; undefined for fewer than three. @param timesMs of their ends */
export function medianInterval(timesMs: readonly number[]): number | undefined {
  const sorted = timesMs.toSorted((a, b) => a - b)
  const intervals = sorted.slice(1).map((time, index) => time - sorted[index]!)
  if (intervals.length < 2) return undefined
  return intervals.sort((a, b) => a - b)[Math.floor(intervals.length / 2)]
}
