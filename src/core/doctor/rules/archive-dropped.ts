import { timeText } from '../../archive/status/diagnose.ts'
import { defineRule } from '../rule.ts'

export const archiveDropped = defineRule({
  id: 'archive-dropped',
  area: 'archive',
  severity: 'error',
  reports: 'archive-push-queue-max dropped WAL, and no backup was taken since then',
  why: 'no restore can pass the gap: what happened after it is not protected before the next backup',
  needs: ['archiving', 'repositories'],
  check: ({ archiving: { spool }, repositories }, site) => {
    const dropped = spool?.status?.dropped
    if (dropped === undefined) return []
    const later = repositories.flatMap((repository) =>
      repository.failure === undefined
        ? (repository.stanza?.backups ?? []).filter(({ timestampStart }) => timestampStart * 1000 > dropped.timeMs)
        : [],
    )
    if (later.length > 0) return []
    return [
      {
        message: `archive-push-queue-max dropped ${dropped.files} WAL file(s), the last, ${dropped.file}, at ${timeText(dropped.timeMs)}`,
        next: ['# make archiving work again, then', site.pgts('backup')],
      },
    ]
  },
})
