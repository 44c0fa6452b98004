import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const backupMissing = defineRule({
  id: 'backup-missing',
  area: 'backup',
  severity: 'error',
  reports: 'a repository has no backup of the stanza',
  why: 'nothing can be restored from it: WAL alone is of no use',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories)
      .filter(({ stanza }) => stanza.backups.length === 0)
      .map(({ key }) => ({
        repoKey: key,
        message: `stanza ${site.stanza} has no backup`,
        next: [site.pgts('backup', `--repo=${key}`)],
      })),
})
