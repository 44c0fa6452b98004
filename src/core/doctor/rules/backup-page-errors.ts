import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const backupPageErrors = defineRule({
  id: 'backup-page-errors',
  area: 'backup',
  severity: 'error',
  reports: 'the last backup has files with damaged pages',
  why: 'the cluster is corrupt, and retention will remove the last backup that was taken before',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap(({ key, stanza: { backups } }) => {
      const last = backups.at(-1)
      if (last?.error !== true) return []
      const intact = backups.findLast(({ error }) => error === false)
      return [
        {
          repoKey: key,
          message: `backup ${last.label} has files with damaged pages`,
          next: [
            site.pgts('info', `--repo=${key}`, `--set=${last.label}`),
            ...(intact === undefined ? [] : [`${site.pgts('pin', '--reason=damage')} ${intact.label}`]),
          ],
        },
      ]
    }),
})
