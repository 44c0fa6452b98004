import { zonedDateTime } from '../../../util/local-time.ts'
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
      const gaps = (currentWindow(repository)?.gaps ?? []).filter(({ first }) => first !== undefined)
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
