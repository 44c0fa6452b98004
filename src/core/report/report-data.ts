import type { DrillRecord } from '../drill/record.ts'
import type { Examined } from './examined.ts'
import type { InfoStanza } from '../info/report.ts'
import type { WalDay } from './wal-days.ts'

/** What `report` shows: the content of the repositories and the WAL that arrived in them, and what drills found. */
export interface SiteReport {
  /** Seconds since 1970. */
  readonly createdSeconds: number
  readonly stanzas: readonly StanzaReport[]
}

export interface StanzaReport {
  readonly info: InfoStanza
  /** Absent: none were given. */
  readonly examined?: Examined
  readonly repositories: readonly RepositoryReport[]
}

export interface RepositoryReport {
  readonly repoKey: number
  /** Of the current cluster, oldest first, without a day left out; empty: no WAL. */
  readonly wal: readonly WalDay[]
  /** Oldest first. */
  readonly drills: readonly DrillRecord[]
}
