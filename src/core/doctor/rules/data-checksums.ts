import { defineRule } from '../rule.ts'

export const dataChecksums = defineRule({
  id: 'data-checksums',
  area: 'server',
  severity: 'notice',
  reports: 'the cluster has no data checksums',
  why: 'a backup cannot notice damaged pages, and stores them for as long as retention lasts',
  needs: ['cluster'],
  check: ({ cluster: { dataChecksums: exist, version } }, site) =>
    exist
      ? []
      : [
          {
            message: 'data checksums are off',
            next: [
              Number(version) < 12
                ? '# create the cluster again with initdb --data-checksums, and load a dump'
                : `# stop the server, then: pg_checksums --enable -D ${site.pgPath ?? ''}`,
            ],
          },
        ],
})
