import type { ArchivingFacts } from '../archive/status/archiving-facts.ts'
import type { ClusterIdentity } from '../cluster-identity.ts'
import type { FoundMark } from '../cluster-copy/copy-mark.ts'
import type { DrillRecord } from '../drill/record.ts'
import type { InfoArchive, InfoBackup } from '../info/report.ts'
import type { VerifyMemory } from '../verify/memory.ts'
import type { HeldLock } from '../../util/lock.ts'

/** The site as configured: known without reading anything. Times are ms, sizes bytes. */
export interface Site {
  readonly stanza: string
  readonly nowMs: number
  /** A command of pgts to paste, with the options of this run: `pgts('backup', '--type=full')`. */
  pgts(command: string, ...options: readonly string[]): string
  /** A command to paste that runs this SQL. */
  psql(sql: string): string
  /** A command for the host of the cluster, to paste on this host. */
  onClusterHost(command: string): string
  /** A command to paste that needs root. */
  root(...words: readonly string[]): string
  readonly pgPath?: string
  /** Absent: this host. */
  readonly pgHost?: string
  readonly spoolPath?: string
  readonly lockPath: string
  readonly archiveAsync: boolean
  readonly repos: readonly RepoSettings[]
  readonly promised: {
    readonly backupAgeMs?: number
    readonly windowMs?: number
    readonly verifyAgeMs: number
    readonly drillAgeMs: number
  }
}

export interface RepoSettings {
  readonly key: number
  /** repo-type; `remote` if another host serves the repository, which has its configuration. */
  readonly type: string
  readonly path: string
  readonly encrypted: boolean
  /** Of an object store. */
  readonly verifyTls: boolean
  readonly caFile?: string
  readonly retention: {
    readonly full?: number
    readonly fullType: 'count' | 'time'
    /** Days, weeks, months or years are kept. */
    readonly calendar: boolean
  }
}

export interface Facts {
  readonly configuration: ConfigurationFacts
  readonly cluster: ClusterFacts
  readonly server: ServerState
  readonly archiving: ArchivingFacts
  readonly host: HostFacts
  readonly repositories: readonly RepositoryFacts[]
  readonly stores: readonly StoreFacts[]
}

export interface ConfigurationFacts {
  /** Warnings of parsing it, in lines. */
  readonly warnings: readonly string[]
  readonly files: readonly {
    readonly path: string
    /** It contains secrets, and other users can read or change it. */
    readonly exposed: boolean
    /** The owner of the data directory can read it; undefined: not known. */
    readonly readable?: boolean
  }[]
  /** The user that the server, and so archive_command, runs as. */
  readonly owner?: string
}

/** From the files of the data directory. */
export interface ClusterFacts extends ClusterIdentity {
  readonly dataChecksums: boolean
  /** It is a restored copy that may not archive into this stanza. */
  readonly copy?: FoundMark
  /** Size of pg_wal without archive_status. */
  readonly walBytes: number
}

/** From the running server. */
export interface ServerState {
  readonly versionNum: number
  readonly inRecovery: boolean
  readonly settings: ReadonlyMap<string, string>
  /** Settings whose value in the files needs a restart. */
  readonly pendingRestart: readonly string[]
  readonly slots: readonly SlotFacts[]
  /** Time of the server minus time of this host. */
  readonly clockOffsetMs: number
}

export interface SlotFacts {
  readonly name: string
  readonly active: boolean
  /** WAL that it keeps; undefined: none. */
  readonly retainedBytes?: number
  /** Since 13: reserved, extended, unreserved, lost. */
  readonly walStatus?: string
}

export interface HostFacts {
  readonly disks: readonly DiskFacts[]
  /** Absent: none exists. */
  readonly spool?: { readonly path: string; readonly problem?: string; readonly kind: 'disk' | 'memory' | 'network' }
  /** Locks of the stanza that are held, and when each was last written. */
  readonly locks: readonly (HeldLock & { readonly path: string; readonly writtenMs: number })[]
  readonly stopFile?: string
}

export interface DiskFacts {
  /** What is stored there: `pg_wal`, `repo1`. */
  readonly uses: readonly string[]
  readonly path: string
  readonly freeBytes: number
  readonly totalBytes: number
}

/** One repository; `failure` if it cannot be read, and then nothing else is known. */
export type RepositoryFacts =
  | { readonly key: number; readonly failure: { readonly message: string; readonly hints: readonly string[] } }
  | ({ readonly key: number; readonly failure?: undefined } & RepositoryState)

export interface RepositoryState {
  readonly display: string
  /** Absent: it has no stanza (no info files). */
  readonly stanza?: StanzaState
}

export interface StanzaState {
  /** The current cluster in backup.info, and in archive.info if that differs. */
  readonly current: ClusterIdentity
  readonly archiveCurrent: ClusterIdentity
  readonly archives: readonly InfoArchive[]
  readonly backups: readonly InfoBackup[]
  /** Backups without a manifest: interrupted, or still running. */
  readonly unfinished: readonly { readonly label: string; readonly changedMs: number }[]
  readonly verified: VerifyMemory
  /** The newest record. */
  readonly drill?: DrillRecord
  /** When backup.info was written, by the clock of the repository. */
  readonly infoMs: number
  /** Permissions of its directory; absent in an object store. */
  readonly directory?: { readonly path: string; readonly mode: number; readonly uid: number }
}

/** The endpoint of an object store. */
export interface StoreFacts {
  readonly key: number
  readonly address: string
  /** Why it did not answer. The rule about the repository reports that. */
  readonly failure?: string
  /** Of the server that answers; absent without TLS. */
  readonly certificate?: Certificate
  /** Of the file with the trusted certificates. */
  readonly authorities: readonly Certificate[]
  /** Time of the store minus time of this host. */
  readonly clockOffsetMs?: number
}

export interface Certificate {
  readonly subject: string
  readonly validToMs: number
}
