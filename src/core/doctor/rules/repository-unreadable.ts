import { defineRule } from '../rule.ts'

export const repositoryUnreadable = defineRule({
  id: 'repository-unreadable',
  area: 'repository',
  severity: 'error',
  reports: 'a repository does not answer, or its info files cannot be read',
  why: 'nothing can be backed up to it, archived in it, or restored from it',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    repositories.flatMap(({ key, failure }) =>
      failure === undefined
        ? []
        : [
            {
              repoKey: key,
              message: failure.message,
              next: [...failure.hints.map((hint) => `# ${hint}`), site.pgts('info', `--repo=${key}`)],
            },
          ],
    ),
})
