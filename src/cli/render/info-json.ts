import type {
  InfoArchive,
  InfoBackup,
  InfoDetails,
  InfoDrill,
  InfoLock,
  InfoReport,
  InfoStanza,
} from '../../core/info/report.ts'
import { serialiseJson, type JsonObject, type JsonValue } from '../../format/canonical-json.ts'
import type { RecoverableWindow } from '../../core/window/read.ts'
import { microsText } from '../../util/local-time.ts'
import { PGBACKREST_LEVEL } from '../../util/version.ts'
import { textToBytes } from '../../util/byte-string.ts'

/** The JSON that monitoring of pgBackRest parses: one array, members sorted, no whitespace (a byte string). */
export function renderInfoJson(report: InfoReport): string {
  return serialiseJson(report.stanzas.map((stanza) => stanzaJson(stanza, report.detail)))
}

function stanzaJson(stanza: InfoStanza, detail: InfoReport['detail']): JsonObject {
  const { name, status } = stanza
  const always = {
    name,
    status: object({
      code: status.code,
      lock: object({ backup: lockJson(status.lock.backup), restore: lockJson(status.lock.restore) }),
      message: textToBytes(status.message),
    }),
  }
  if (detail === 'progress') return object(always)
  return object({
    ...always,
    archive: stanza.archives.map(archiveJson),
    backup: stanza.backups.map(backupJson),
    cipher: stanza.cipher,
    drill: stanza.drill === undefined ? undefined : drillJson(stanza.drill),
    db: stanza.clusters.map(({ historyId, repoKey, systemId, version }) =>
      object({ id: historyId, 'repo-key': repoKey, 'system-id': systemId, version }),
    ),
    repo: stanza.repos.map(({ cipher, key, status: { code, message } }) =>
      object({ cipher, key, status: object({ code, message: textToBytes(message) }) }),
    ),
  })
}

function lockJson({ held, progress, repos }: InfoLock): JsonObject {
  return object({
    held,
    size: progress?.sizeBytes,
    'size-cplt': progress?.doneBytes,
    repo: repos?.map(({ repoKey, sizeBytes, doneBytes }) =>
      object({ key: repoKey, size: sizeBytes, 'size-cplt': doneBytes }),
    ),
  })
}

function archiveJson({ archiveId, historyId, repoKey, min, max, window }: InfoArchive): JsonObject {
  return object({
    database: object({ id: historyId, 'repo-key': repoKey }),
    id: archiveId,
    max,
    min,
    window: window === undefined ? undefined : windowJson(window),
  })
}

/** Times in a form that `--target` and the server accept. */
export function windowJson({ from, to, gaps, timeline, unscanned }: RecoverableWindow): JsonObject {
  const time = (micros: number | undefined) => (micros === undefined ? null : microsText(micros))
  return object({
    from: time(from),
    gap: gaps.map((gap) =>
      object({
        from: time(gap.from),
        missing: gap.missing,
        segment: gap.first === undefined ? null : object({ first: gap.first, last: gap.last }),
        to: time(gap.to),
      }),
    ),
    timeline,
    to: time(to),
    unscanned,
  })
}

function drillJson({ repoKey, record }: InfoDrill): JsonObject {
  const { durations, lastCommitMs, problem, replayLsn, target } = record
  const text = (value: string | undefined) => (value === undefined ? null : textToBytes(value))
  return object({
    backup: textToBytes(record.label),
    check: record.checks.map(({ name, result }) => object({ name: textToBytes(name), result })),
    'duration-ms': object({
      check: durations.checksMs,
      recovery: durations.recoveryMs,
      restore: durations.restoreMs,
      total: durations.totalMs,
    }),
    host: textToBytes(record.host),
    lsn: text(replayLsn),
    problem: text(problem?.message),
    'repo-key': repoKey,
    result: record.result,
    target: text(target),
    timestamp: object({
      commit: lastCommitMs === undefined ? null : Math.floor(lastCommitMs / 1000),
      start: Math.floor(record.startedMs / 1000),
    }),
    type: textToBytes(record.type),
  })
}

function backupJson(backup: InfoBackup): JsonObject {
  const { details, lsnStart, lsnStop, pin, repoSizeMapBytes } = backup
  return object({
    annotation: backup.annotations.size === 0 ? undefined : backup.annotations,
    archive: object({ start: backup.archiveStart, stop: backup.archiveStop }),
    backrest: object({ format: backup.backrestFormat, ...versionJson(backup.backrestVersion) }),
    database: object({ id: backup.historyId, 'repo-key': backup.repoKey }),
    error: backup.error,
    info: object({
      delta: backup.sizeDeltaBytes,
      // The stored size of a whole set has little meaning if only some blocks of its files are used.
      repository: object({
        delta: backup.repoSizeDeltaBytes,
        'delta-map': repoSizeMapBytes === undefined ? undefined : backup.repoSizeMapDeltaBytes,
        size: repoSizeMapBytes === undefined ? backup.repoSizeBytes : undefined,
        'size-map': repoSizeMapBytes,
      }),
      size: backup.sizeBytes,
    }),
    label: backup.label,
    lsn: lsnStart === undefined || lsnStop === undefined ? undefined : object({ start: lsnStart, stop: lsnStop }),
    pin: pin === undefined ? undefined : object({ reason: pin.reason, since: pin.since, until: pin.until }),
    prior: backup.prior,
    reference: backup.references,
    timestamp: object({ start: backup.timestampStart, stop: backup.timestampStop }),
    type: backup.type,
    ...(details === undefined ? {} : detailsJson(details)),
  })
}

/** Programs read the version as a number, so the version of pgts has its own member. */
function versionJson(version: string): { version: string; writer?: string } {
  return version.startsWith('pgts ') ? { version: PGBACKREST_LEVEL, writer: version } : { version }
}

function detailsJson({ databases, links, tablespaces, errorFiles }: InfoDetails) {
  const orNull = (list: readonly JsonObject[]) => (list.length === 0 ? null : list)
  return {
    'database-ref': databases.map(({ name, oid }) => object({ name, oid })),
    'error-list': errorFiles.length === 0 ? undefined : errorFiles,
    link: orNull(links.map(({ name, destination }) => object({ destination, name }))),
    tablespace: orNull(tablespaces.map(({ name, oid, destination }) => object({ destination, name, oid }))),
  }
}

/** Omits undefined members; the serialiser sorts the others. */
function object(members: Readonly<Record<string, JsonValue | undefined>>): JsonObject {
  return new Map(Object.entries(members).filter((member): member is [string, JsonValue] => member[1] !== undefined))
}
