import type { InfoBackup } from '../../../core/info/report.ts'
import { startOfDay, type WalDay } from '../../../core/report/wal-days.ts'
import { formatSize } from '../../../util/format-size.ts'
import { zonedDateTime } from '../../../util/local-time.ts'
import { about, durationOf, radiusFor, TYPE_LEGEND } from './backups.ts'
import { html, type Markup } from './markup.ts'
import { bar, figure, marker, PLOT } from './plot.ts'
import { linearScale, timeScale, type Scale } from './scale.ts'

const TOP = 14
const BOTTOM = 210
const HEIGHT = [BOTTOM, TOP] as const
const DAY_SECONDS = 86_400
const MOST_BAR = 48

interface Point {
  readonly time: number
  readonly value: number
}

/** How large the cluster is, and how much its backups that still exist take up in the repository. */
export function sizes(id: string, backups: readonly InfoBackup[], now: number): Markup {
  let total = 0
  const points = backups.map(({ timestampStop: time, sizeBytes, repoSizeDeltaBytes }) => {
    total += repoSizeDeltaBytes
    return { time, size: sizeBytes, stored: total }
  })
  const x = timeAxis(backups, now)
  const y = linearScale(Math.max(...points.map(({ size, stored }) => Math.max(size, stored))), HEIGHT, 'bytes')
  const last = points.at(-1)!
  return figure({
    id,
    title: 'Size and growth',
    description: `The cluster has ${formatSize(last.size)}, its backups take ${formatSize(last.stored)} in the repository.`,
    bottom: BOTTOM,
    x,
    y,
    marks: [
      ...path(
        'size',
        x,
        y,
        points.map(({ time, size }) => ({ time, value: size })),
      ),
      ...path(
        'stored',
        x,
        y,
        points.map(({ time, stored }) => ({ time, value: stored })),
      ),
      marker('size', x.at(last.time), y.at(last.size), 4, `cluster: ${formatSize(last.size)}`),
      marker('stored', x.at(last.time), y.at(last.stored), 4, `stored: ${formatSize(last.stored)}`),
    ],
    legend: [
      { kind: 'size', text: 'size of the cluster' },
      { kind: 'stored', text: 'stored by all backups up to then' },
    ],
    table: {
      columns: ['time', 'size of the cluster', 'stored'],
      rows: points.map(({ time, size, stored }) => [zonedDateTime(time), formatSize(size), formatSize(stored)]),
    },
  })
}

/** Nothing for a single point, which has a symbol only. */
function path(kind: string, x: Scale, y: Scale, points: readonly Point[]): readonly Markup[] {
  if (points.length < 2) return []
  const places = points.map(({ time, value }) => `${x.at(time).toFixed(1)},${y.at(value).toFixed(1)}`)
  return [html`<polyline class="mark line ${kind}" points="${places.join(' ')}" />`]
}

/** What each backup stored, in order. */
export function added(id: string, backups: readonly InfoBackup[]): Markup {
  const y = linearScale(Math.max(...backups.map(({ repoSizeDeltaBytes }) => repoSizeDeltaBytes)), HEIGHT, 'bytes')
  const step = Math.min(MOST_BAR, (PLOT.right - PLOT.left) / backups.length)
  return figure({
    id,
    title: 'What each backup added',
    description: `Bars of the stored size of ${backups.length} backups, oldest first.`,
    bottom: BOTTOM,
    y,
    marks: backups.map((backup, index) => {
      const top = y.at(backup.repoSizeDeltaBytes)
      const box = { x: PLOT.left + index * step, y: top, width: Math.max(0.8, step * 0.8), height: BOTTOM - top }
      return bar(backup.type, box, about(backup))
    }),
    legend: TYPE_LEGEND,
    table: {
      columns: ['backup', 'copied', 'stored'],
      rows: backups.map(({ label, sizeDeltaBytes, repoSizeDeltaBytes }) => [
        label,
        formatSize(sizeDeltaBytes),
        formatSize(repoSizeDeltaBytes),
      ]),
    },
  })
}

const seconds = ({ timestampStart, timestampStop }: InfoBackup) => timestampStop - timestampStart
/** Bytes a second; a backup takes at least one second. */
const throughput = (backup: InfoBackup) => backup.sizeDeltaBytes / Math.max(1, seconds(backup))

export function durations(id: string, backups: readonly InfoBackup[], now: number): Markup {
  const y = linearScale(Math.max(...backups.map(seconds)), HEIGHT, 'seconds')
  const title = 'Duration of the backups'
  return scatter({ id, title, column: 'duration', now, backups, y, value: seconds, text: durationOf })
}

export function throughputs(id: string, backups: readonly InfoBackup[], now: number): Markup {
  const y = linearScale(Math.max(...backups.map(throughput)), HEIGHT, 'bytes')
  const text = (backup: InfoBackup) => `${formatSize(Math.round(throughput(backup)))}/s`
  const title = 'Throughput: data copied in each second'
  return scatter({ id, title, column: 'throughput', now, backups, y, value: throughput, text })
}

interface Scatter {
  readonly id: string
  readonly title: string
  readonly column: string
  readonly now: number
  readonly backups: readonly InfoBackup[]
  readonly y: Scale
  value(backup: InfoBackup): number
  text(backup: InfoBackup): string
}

function scatter({ id, title, column, now, backups, y, value, text }: Scatter): Markup {
  const x = timeAxis(backups, now)
  const radius = radiusFor(backups.length)
  return figure({
    id,
    title,
    description: `${backups.length} backups on a time axis; the last one: ${text(backups.at(-1)!)}.`,
    bottom: BOTTOM,
    x,
    y,
    marks: backups.map((backup) =>
      marker(backup.type, x.at(backup.timestampStop), y.at(value(backup)), radius, `${text(backup)}\n${about(backup)}`),
    ),
    legend: TYPE_LEGEND,
    table: { columns: ['backup', column], rows: backups.map((backup) => [backup.label, text(backup)]) },
  })
}

/** The size of the WAL that arrived on each day. */
export function walDays(id: string, days: readonly WalDay[]): Markup {
  const y = linearScale(Math.max(...days.map(({ sizeBytes }) => sizeBytes)), HEIGHT, 'bytes')
  const range = [startOfDay(days[0]!.day), startOfDay(days.at(-1)!.day) + DAY_SECONDS] as const
  const x = timeScale(range, [PLOT.left, PLOT.right])
  const total = days.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return figure({
    id,
    title: 'WAL archived per day',
    description: `${formatSize(total)} in ${days.length} days, as stored.`,
    bottom: BOTTOM,
    x,
    y,
    marks: days
      .filter(({ segments }) => segments > 0)
      .map(({ day, segments, sizeBytes }) => {
        const [start, end] = [x.at(startOfDay(day)), x.at(startOfDay(day) + DAY_SECONDS)]
        const top = Math.min(y.at(sizeBytes), BOTTOM - 1)
        const width = Math.min(MOST_BAR, Math.max(1, Math.min(end, PLOT.right) - start - 1))
        const box = { x: start, y: top, width, height: BOTTOM - top }
        return bar('wal', box, `${day}: ${formatSize(sizeBytes)} in ${segments} segments`)
      }),
    table: {
      columns: ['day', 'segments', 'stored'],
      rows: days.map(({ day, segments, sizeBytes }) => [day, String(segments), formatSize(sizeBytes)]),
    },
  })
}

function timeAxis(backups: readonly InfoBackup[], now: number): Scale {
  return timeScale([backups[0]!.timestampStart, now], [PLOT.left, PLOT.right - 6])
}
