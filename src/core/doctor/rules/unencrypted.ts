import { repoId } from '../../../util/repo-id.ts'
import { defineRule } from '../rule.ts'

export const unencrypted = defineRule({
  id: 'unencrypted',
  area: 'security',
  severity: 'notice',
  reports: 'a repository in an object store is not encrypted by pgts',
  why: 'everyone with access to the bucket, or to a copy of it, can read all data of the cluster',
  needs: ['configuration'],
  check: (_, site) =>
    site.repos
      .filter(({ type, encrypted }) => type !== 'posix' && !encrypted)
      .map(({ key }) => ({
        repoKey: key,
        message: `${repoId(key)}-cipher-type is none, and the repository is in an object store`,
        next: [
          '# an existing repository cannot be encrypted: configure another repo-path or bucket with a passphrase',
          'openssl rand -base64 48',
        ],
      })),
})
