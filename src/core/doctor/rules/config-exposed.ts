import { defineRule } from '../rule.ts'

export const configExposed = defineRule({
  id: 'config-exposed',
  area: 'security',
  severity: 'error',
  reports: 'a configuration file contains secrets, and other users can read or change it',
  why: 'with these secrets every backup can be decrypted or removed',
  needs: ['configuration'],
  check: ({ configuration: { files } }, site) =>
    files
      .filter(({ exposed }) => exposed)
      .map(({ path }) => ({
        message: `${path} contains secrets but is accessible to other users`,
        next: [site.root('chmod', 'o-rwx', path)],
      })),
})
