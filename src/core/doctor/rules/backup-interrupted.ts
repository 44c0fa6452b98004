import { ago } from '../../archive/status/diagnose.ts'
import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

/** A backup on another host may run: it saves its manifest from time to time. */
const SILENT_MS = 3_600_000

export const backupInterrupted = defineRule({
  id: 'backup-interrupted',
  area: 'backup',
  severity: 'warning',
  reports: 'the newest directory of a backup has no manifest, and no process works on it',
  why: 'the last backup did not finish, and what it stored takes space',
  needs: ['repositories', 'host'],
  check: ({ repositories, host: { locks } }, site) => {
    if (locks.some(({ type }) => type === 'backup')) return []
    return readable(repositories).flatMap(({ key, stanza: { unfinished } }) =>
      unfinished
        .filter(({ changedMs }) => site.nowMs - changedMs > SILENT_MS)
        .map(({ label, changedMs }) => ({
          repoKey: key,
          message: `backup ${label} was interrupted ${ago(site.nowMs - changedMs)} ago`,
          next: ['# continues it, or removes what it left', site.pgts('backup', `--repo=${key}`)],
        })),
    )
  },
})
