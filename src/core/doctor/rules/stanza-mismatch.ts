import { describeCluster, isSameCluster } from '../../cluster-identity.ts'
import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const stanzaMismatch = defineRule({
  id: 'stanza-mismatch',
  area: 'repository',
  severity: 'error',
  reports:
    'system identifier or version of the stanza differ from those of the cluster, or its info files from each other',
  why: 'WAL and backups of this cluster are refused until stanza-upgrade has run',
  needs: ['cluster', 'repositories'],
  check: ({ cluster, repositories }, site) =>
    readable(repositories).flatMap(({ key, stanza: { current, archiveCurrent } }) => {
      const next = [site.pgts('stanza-upgrade'), site.pgts('backup', '--type=full')]
      const isOurs = isSameCluster(current, cluster) && isSameCluster(archiveCurrent, cluster)
      if (isOurs) return []
      const files = isSameCluster(current, archiveCurrent)
        ? `the stanza has ${describeCluster(current)}`
        : `backup.info has ${describeCluster(current)}, archive.info ${describeCluster(archiveCurrent)}`
      return [{ repoKey: key, message: `${files}; the cluster has ${describeCluster(cluster)}`, next }]
    }),
})
