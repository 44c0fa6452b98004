import { defineRule } from '../rule.ts'

export const stanzaMissing = defineRule({
  id: 'stanza-missing',
  area: 'repository',
  severity: 'error',
  reports: 'a repository has no info files of the stanza',
  why: 'WAL and backups of this cluster are refused by it',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    repositories.flatMap((repository) =>
      repository.failure !== undefined || repository.stanza !== undefined
        ? []
        : [
            {
              repoKey: repository.key,
              message: `stanza ${site.stanza} does not exist in ${repository.display}`,
              next: [site.pgts('stanza-create')],
            },
          ],
    ),
})
