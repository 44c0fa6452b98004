import { zonedDateTime } from '../../../util/local-time.ts'
import type { InfoBackup } from '../../info/report.ts'
import type { WindowGap } from '../../window/compute.ts'
import { currentWindow, readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const walGap = defineRule({
  id: 'wal-gap',
  area: 'archive',
  severity: 'error',
  reports: 'WAL is missing after the last backup; a warning if it is missing between backups',
  why: 'no restore can reach a point in time in the gap, and none after it before the next backup',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap((repository) => {
      const last = Math.max(0, ...repository.stanza.backups.map(({ timestampStop }) => timestampStop))
      const gaps = (currentWindow(repository)?.gaps ?? []).filter(
        (gap) => gap.first !== undefined && !isByExpire(gap, repository.stanza.backups),
      )
      return gaps.map(({ from, to, first, missing }) => ({
        severity: to === undefined || from / 1_000_000 >= last ? ('error' as const) : ('warning' as const),
        repoKey: repository.key,
        message: `${missing} WAL segment(s) from ${first ?? ''} on are missing, after ${zonedDateTime(Math.floor(from / 1_000_000))}`,
        next: [
          site.pgts('verify', `--repo=${repository.key}`, '--output=text'),
          site.pgts('backup', `--repo=${repository.key}`),
        ],
      }))
    }),
})

/** Retention can keep of a backup only the WAL that makes it consistent: the gap is exactly between two backups. */
function isByExpire({ first, last }: WindowGap, backups: readonly InfoBackup[]): boolean {
  return (
    first !== undefined &&
    last !== undefined &&
    backups.some(({ archiveStop }) => archiveStop !== null && follows(archiveStop, first)) &&
    backups.some(({ archiveStart }) => archiveStart !== null && follows(last, archiveStart))
  )
}

/** Whatever the segment size is: the last segment of a log is followed by the first one of the next log. */
function follows(before: string, after: string): boolean {
  const [log, segment, nextLog, nextSegment] = [before, after].flatMap((name) => [
    Number.parseInt(name.slice(8, 16), 16),
    Number.parseInt(name.slice(16, 24), 16),
  ])
  return nextLog === log ? nextSegment === segment! + 1 : nextLog === log! + 1 && nextSegment === 0
}
