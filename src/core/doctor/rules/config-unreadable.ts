import { defineRule } from '../rule.ts'

export const configUnreadable = defineRule({
  id: 'config-unreadable',
  area: 'configuration',
  severity: 'error',
  reports: 'the user of the server cannot read a configuration file',
  why: 'archive_command and backups run as this user and fail without their configuration',
  needs: ['configuration'],
  check: ({ configuration: { files, owner = 'postgres' } }, site) =>
    files
      .filter(({ readable }) => readable === false)
      .map(({ path }) => ({
        message: `${owner} cannot read ${path}`,
        next: [site.root('chown', `root:${owner}`, path), site.root('chmod', '640', path)],
      })),
})
