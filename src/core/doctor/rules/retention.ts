import { repoId } from '../../../util/repo-id.ts'
import { defineRule } from '../rule.ts'

export const retention = defineRule({
  id: 'retention',
  area: 'configuration',
  severity: 'warning',
  reports: 'no retention is set for a repository',
  why: 'no backup ever expires, until the repository is full and archiving stops',
  needs: ['configuration'],
  check: ({ configuration: { files } }, site) =>
    site.repos
      .filter(({ type, retention: { full, calendar } }) => type !== 'remote' && full === undefined && !calendar)
      .map(({ key }) => ({
        repoKey: key,
        message: `${repoId(key)}-retention-full is not set`,
        next: [
          `# set ${repoId(key)}-retention-full in ${files[0]?.path ?? 'the configuration'} (9999999 keeps all), then see what it removes`,
          site.pgts('expire', '--dry-run', '--explain'),
        ],
      })),
})
