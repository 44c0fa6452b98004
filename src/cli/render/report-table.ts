import type { AnnotateReport } from '../../commands/annotate.ts'
import type { ArchiveAllowReport } from '../../commands/archive-allow.ts'
import type { BackupReport, SkippedBackup } from '../../commands/backup.ts'
import type { CheckReport } from '../../commands/check.ts'
import type { DoctorReport } from '../../commands/doctor.ts'
import type { DrillReport } from '../../commands/drill.ts'
import type { PinReport } from '../../commands/pin.ts'
import type { RestoreReport } from '../../commands/restore.ts'
import type { StanzaCreateReport } from '../../commands/stanza-create.ts'
import type { StanzaDeleteReport } from '../../commands/stanza-delete.ts'
import type { StanzaUpgradeReport } from '../../commands/stanza-upgrade.ts'
import type { StartReport } from '../../commands/start.ts'
import type { StopReport } from '../../commands/stop.ts'

/** The commands with a report of named members, and their reports. */
export interface Reports {
  readonly annotate: AnnotateReport
  readonly 'archive-allow': ArchiveAllowReport
  readonly backup: Partial<BackupReport & SkippedBackup>
  readonly check: CheckReport
  readonly doctor: DoctorReport
  readonly drill: DrillReport
  readonly pin: PinReport
  readonly restore: RestoreReport
  readonly 'stanza-create': StanzaCreateReport
  readonly 'stanza-delete': StanzaDeleteReport
  readonly 'stanza-upgrade': StanzaUpgradeReport
  readonly start: StartReport
  readonly stop: StopReport
  readonly unpin: PinReport
}

export type ReportingCommand = keyof Reports

/** What a member means, with its unit; names that end in `Bytes` and `Ms` carry theirs. `?`: it can be absent. */
type Meanings<R> = { readonly [M in keyof R]-?: string }

const LABEL = 'Label of the backup.'
const STANZA = 'Name of the stanza.'
const CHANGED_REPOS = 'Numbers of the repositories that were changed.'
const STOP_FILE = 'Path of the stop file.'

/** The members of the JSON form, in order. They are not renamed; new ones can be added. */
export const reportTable: { readonly [C in ReportingCommand]: Meanings<Reports[C]> } = {
  annotate: { label: LABEL, repoKeys: CHANGED_REPOS },
  'archive-allow': {
    stanza: STANZA,
    pgPath: 'Data directory of the cluster.',
    changed: 'False if the cluster was not marked as a copy.',
    reason: 'Why the cluster was a copy; absent if it was none, or if the mark could not be read.',
  },
  backup: {
    label: LABEL,
    type: 'full, diff or incr.',
    repoKey: 'Number of the repository.',
    fileCount: 'Number of files.',
    sizeBytes: 'Size of all files.',
    repoSizeBytes: 'Size in the repository of what this backup stored.',
    pageErrorFiles: 'Files with damaged pages, in this backup or in those that it refers to.',
    durationMs: 'From its start to its stop on the server, in whole seconds.',
    skipped: 'Why no backup was taken on this host (`backup-standby`); then all other members are absent.',
  },
  check: {
    stanza: STANZA,
    clusters: 'For each cluster: `pgKey`, its number, and `role`, primary or standby.',
    repositories:
      'For each repository: `repoKey`, `archiveId`, and `archived`, the `segment` that was archived for the test and its `repoName`.',
  },
  doctor: {
    stanza: STANZA,
    timeMs: 'When it was examined, since 1970.',
    state: 'The worst severity among the findings: error, warning, notice; or ok.',
    findings:
      'For each finding: `rule` and `area` of the [list of rules](doctor.md), `severity`, `repoKey` if it is about one repository, `message`, `why`, and `next`, lines for a shell, some of them comments.',
    notChecked: 'For each rule that could not be checked: `rule`, and `fact`, what could not be read.',
    checked: 'Number of rules that were checked.',
  },
  drill: {
    stanza: STANZA,
    label: LABEL,
    repoKey: 'Number of the repository.',
    result: 'passed, or failed: the backup is at fault.',
    problem:
      'Why it could not be restored or recovered: `code`, the exit code of that error, and `message`; absent otherwise.',
    type: 'Kind of the target; immediate: where the backup is consistent.',
    target: 'The target, as it was given; absent without one.',
    durations:
      'In milliseconds: `restoreMs`, until all files are restored; `recoveryMs`, from then until the server reached its target; `checksMs`; `totalMs`. Steps that were not reached are absent.',
    lastCommitMs: 'Time of the last commit that was replayed, in milliseconds since 1970; absent if there was none.',
    replayLsn: 'Position in the WAL at which recovery stopped.',
    replayedBytes: 'WAL from the start of the backup to that position.',
    restoredBytes: 'Size of the files that were restored.',
    restoredFiles: 'Number of files.',
    checks:
      'For each check: `name` (databases, amcheck, sql, pages), `result` (passed, failed, skipped, warning), `detail`, and `durationMs`.',
    postgres: 'Version of the server that recovered.',
    pgts: 'Version of pgts.',
    host: 'Name of the host.',
    startedMs: 'Start of the drill, in milliseconds since 1970.',
    kept: 'Data directory of the restored cluster, with `--keep`.',
  },
  pin: { label: LABEL, repoKeys: CHANGED_REPOS },
  restore: {
    label: LABEL,
    repoKey: 'Number of the repository.',
    type: 'Type of the recovery.',
    pgPath: 'Data directory that was restored to.',
    sizeBytes: 'Size of all files.',
    restoredBytes: 'Size of the files that were written.',
    files: 'Number of files.',
    restored: 'Number of files that were written.',
    unchanged: 'Number of files that existed with a matching checksum.',
    zeroed: 'Number of files of excluded databases.',
    removed: 'Number of entries that were removed, because the backup does not have them.',
    durationMs: 'Duration of the restore.',
  },
  'stanza-create': {
    stanza: STANZA,
    repositories:
      'For each repository: `repoKey`, `archiveId`, `state` (created, repaired, valid), and `repaired`, the info files that were written again.',
  },
  'stanza-delete': {
    stanza: STANZA,
    repoKey: 'Number of the repository.',
    deleted: 'False if nothing of the stanza existed.',
  },
  'stanza-upgrade': {
    stanza: STANZA,
    repositories:
      'For each repository: `repoKey`, `archiveId` from now on, and `changed`, the info files that were written.',
  },
  start: { stopFile: STOP_FILE, removed: 'False if there was none.' },
  stop: {
    stopFile: STOP_FILE,
    already: 'True if the stop file existed already.',
    signalled: 'Ids of the processes that received SIGTERM (`--force`).',
  },
  unpin: { label: LABEL, repoKeys: CHANGED_REPOS },
}
