import type { DrillRecord } from '../../../src/core/drill/record.ts'
import type { InfoBackup } from '../../../src/core/info/report.ts'
import type { SiteReport } from '../../../src/core/report/report-data.ts'
import type { WalSegment } from '../../../src/format/wal-segment.ts'
import { textToBytes } from '../../../src/util/byte-string.ts'

export const DAY = 86_400
/** 2026-11-30 12:00:00 UTC */
export const NOW = 1_796_040_000

export interface SiteReportOptions {
  /** A full each week, a diff in the middle of it, an incr on other days. */
  readonly backups: number
  readonly name?: string
  readonly note?: string
  /** The window has a gap of two days. */
  readonly gap?: boolean
  /** One each week; the last but one failed, the one before it could not run. */
  readonly drills?: number
}

/** What the command `report` would read from a site with a backup each day. */
export function aSiteReport({ backups, name = 'main', note, gap = false, drills = 0 }: SiteReportOptions): SiteReport {
  const list = Array.from({ length: backups }, (_, index) => aBackup(index, backups, note))
  const unlocked = { held: false }
  const first = list[0]
  const micros = (seconds: number) => seconds * 1_000_000
  const gaps = [
    {
      from: micros(NOW - 5 * DAY),
      to: micros(NOW - 3 * DAY),
      first: '000000010000000000000010' as WalSegment,
      last: '000000010000000000000011' as WalSegment,
      missing: 2,
    },
  ]
  return {
    createdSeconds: NOW,
    stanzas: [
      {
        info: {
          name: textToBytes(name),
          status: { code: 0, message: 'ok', lock: { backup: unlocked, restore: unlocked } },
          cipher: 'none',
          repos: [{ key: 1, cipher: 'none', status: { code: 0, message: 'ok' } }],
          current: { systemId: 7_000_000_000_000_000_001n, version: '18' },
          clusters: [{ repoKey: 1, historyId: 1, systemId: 7_000_000_000_000_000_001n, version: '18' }],
          archives: [
            {
              repoKey: 1,
              historyId: 1,
              archiveId: '18-1',
              min: null,
              max: null,
              ...(first === undefined
                ? {}
                : {
                    window: {
                      archiveId: '18-1',
                      timeline: 1,
                      from: micros(first.timestampStop + 1),
                      to: micros(NOW - 60),
                      gaps: gap ? gaps : [],
                      unscanned: 0,
                    },
                  }),
            },
          ],
          backups: list,
        },
        repositories: [
          {
            repoKey: 1,
            drills: Array.from({ length: drills }, (_, index) => aDrill(index, drills, list[0]!.label)),
            wal: Array.from({ length: Math.min(backups, 90) }, (_, index) => ({
              day: new Date((NOW - (Math.min(backups, 90) - 1 - index) * DAY) * 1000).toISOString().slice(0, 10),
              segments: 40 + ((index * 37) % 90),
              sizeBytes: (40 + ((index * 37) % 90)) * 5_000_000,
            })),
          },
        ],
      },
    ],
  }
}

function aDrill(index: number, count: number, label: string): DrillRecord {
  const result = index === count - 2 ? 'failed' : index === count - 3 ? 'error' : 'passed'
  return {
    startedMs: (NOW - (count - index) * 7 * DAY + 3 * DAY) * 1000,
    host: 'drill-host',
    pgts: '0.1.0',
    label,
    type: 'immediate',
    result,
    durations: { restoreMs: 200_000 + index * 9000, recoveryMs: 20_000, checksMs: 40_000, totalMs: 270_000 },
    checks: [],
    ...(result === 'passed' ? {} : { problem: { code: 81, message: `the drill ${index} did not succeed` } }),
  }
}

function aBackup(index: number, count: number, note: string | undefined): InfoBackup {
  const week = Math.floor(index / 7) * 7
  const type = index % 7 === 0 ? 'full' : index % 7 === 3 ? 'diff' : 'incr'
  const timestampStart = NOW - (count - index) * DAY + 3600
  const sizeBytes = 40_000_000_000 + index * 300_000_000
  const sizeDeltaBytes = type === 'full' ? sizeBytes : (1 + (index % 5)) * (type === 'diff' ? 900_000_000 : 400_000_000)
  const label = labelOf(index, count, type)
  return {
    repoKey: 1,
    historyId: 1,
    label,
    type,
    prior: type === 'full' ? null : labelOf(week, count, 'full'),
    references: null,
    archiveStart: null,
    archiveStop: null,
    backrestFormat: 5,
    backrestVersion: '2.60.0',
    sizeBytes,
    sizeDeltaBytes,
    repoSizeBytes: Math.round(sizeBytes / 4),
    repoSizeDeltaBytes: Math.round(sizeDeltaBytes / 4),
    timestampStart,
    timestampStop: timestampStart + Math.round(sizeDeltaBytes / (90_000_000 + (index % 4) * 10_000_000)),
    error: false,
    annotations: new Map(note === undefined ? [] : [[textToBytes('note'), textToBytes(note)]]),
    ...(index === 2 ? { pin: { since: timestampStart } } : {}),
  }
}

function labelOf(index: number, count: number, type: InfoBackup['type']): string {
  const stamp = (day: number) =>
    new Date((NOW - (count - day) * DAY + 3600) * 1000)
      .toISOString()
      .replace(/[-:]/g, '')
      .replace('T', '-')
      .slice(0, 15)
  const full = `${stamp(Math.floor(index / 7) * 7)}F`
  return type === 'full' ? full : `${full}_${stamp(index)}${type === 'diff' ? 'D' : 'I'}`
}
