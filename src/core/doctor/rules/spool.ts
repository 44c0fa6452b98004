import { defineRule } from '../rule.ts'

export const spool = defineRule({
  id: 'spool',
  area: 'archive',
  severity: 'error',
  reports: 'the spool cannot be written by this user; a warning if it is on a network file system',
  why: 'with archive-async every segment takes the slow way, or none is archived',
  needs: ['host', 'configuration'],
  check: ({ host: { spool: found }, configuration: { owner = 'postgres' } }, site) => {
    if (found === undefined) return []
    const { path, problem, kind } = found
    if (problem !== undefined) {
      return [{ message: `spool-path: ${problem}`, next: [site.root('chown', '-R', `${owner}:`, path)] }]
    }
    if (kind !== 'network') return []
    const message = `spool-path ${path} is on a network file system`
    return [
      { severity: 'warning', message, next: ['# set spool-path to a directory of a local disk', site.pgts('check')] },
    ]
  },
})
