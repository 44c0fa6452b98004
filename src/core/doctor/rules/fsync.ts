import { defineRule } from '../rule.ts'

export const fsync = defineRule({
  id: 'fsync',
  area: 'server',
  severity: 'error',
  reports: 'fsync or full_page_writes is off',
  why: 'after a crash of the host the cluster, and every later backup of it, can be corrupt',
  needs: ['server'],
  check: ({ server: { settings } }, site) =>
    ['fsync', 'full_page_writes']
      .filter((name) => settings.get(name) === 'off')
      .map((name) => ({
        message: `${name} is off`,
        next: [site.psql(`alter system set ${name} = 'on'`), site.psql('select pg_reload_conf()')],
      })),
})
