import { describeUser } from '../../../util/owner-names.ts'
import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const repositoryPermissions = defineRule({
  id: 'repository-permissions',
  area: 'security',
  severity: 'warning',
  reports: 'users other than the owner and its group can read a repository; an error if they can write to it',
  why: 'a backup contains all data of the cluster, password hashes included',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap(({ key, stanza: { directory } }) => {
      if (directory === undefined || (directory.mode & 0o007) === 0) return []
      const { path, mode, uid } = directory
      const writable = (mode & 0o002) !== 0
      return [
        {
          severity: writable ? ('error' as const) : ('warning' as const),
          repoKey: key,
          message: `every user can ${writable ? 'write to' : 'read'} ${path}, which belongs to ${describeUser(uid)}`,
          next: [site.root('chmod', 'o-rwx', path)],
        },
      ]
    }),
})
