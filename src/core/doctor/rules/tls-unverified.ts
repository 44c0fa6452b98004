import { repoId } from '../../../util/repo-id.ts'
import { defineRule } from '../rule.ts'

export const tlsUnverified = defineRule({
  id: 'tls-unverified',
  area: 'security',
  severity: 'warning',
  reports: 'the certificate of a store is not verified',
  why: 'anyone on the way can read backups, and answer in place of the store',
  needs: ['configuration'],
  check: (_, site) =>
    site.repos
      .filter(({ type, verifyTls }) => type !== 'posix' && !verifyTls)
      .map(({ key }) => ({
        repoKey: key,
        message: `${repoId(key)}-storage-verify-tls is off`,
        next: [
          `# set ${repoId(key)}-storage-ca-file if the store has a certificate of your own authority, remove ${repoId(key)}-storage-verify-tls, then`,
          site.pgts('repo-ls', `--repo=${key}`),
        ],
      })),
})
