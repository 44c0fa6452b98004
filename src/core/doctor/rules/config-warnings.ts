import { defineRule } from '../rule.ts'

export const configWarnings = defineRule({
  id: 'config-warnings',
  area: 'configuration',
  severity: 'warning',
  reports: 'the configuration has options that have no effect; a notice for options of pgbackrest that pgts ignores',
  why: 'a setting that was meant to protect the site may not be in effect',
  needs: ['configuration'],
  check: ({ configuration: { warnings, files } }, site) =>
    warnings.map((message) => ({
      // Options of pgbackrest whose effect pgts does not need.
      severity: message.startsWith('ignoring options') ? 'notice' : 'warning',
      message,
      next: [`# correct it in ${files[0]?.path ?? 'the environment'}, then`, site.pgts('check')],
    })),
})
