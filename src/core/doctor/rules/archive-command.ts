import { archiveCommandLine } from '../../archive/status/archive-program.ts'
import { commandProblems } from '../../archive/status/diagnose.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import { defineRule } from '../rule.ts'

export const archiveCommand = defineRule({
  id: 'archive-command',
  area: 'archive',
  severity: 'error',
  reports:
    'archive_command is empty, calls another program, stanza or configuration, or a program or node that the server cannot find',
  why: 'no WAL reaches the repositories, and pg_wal grows until the disk is full',
  needs: ['archiving'],
  check: ({ archiving }, site) => {
    const { server } = archiving
    if (server === undefined || server.mode === 'off' || server.library !== '') return []
    const value = archiveCommandLine(archiving).replace(/^archive_command = '|'$/g, '')
    const next = [
      site.psql(`alter system set archive_command = '${value.replaceAll("'", "''")}'`),
      site.psql('select pg_reload_conf()'),
      site.pgts('check'),
    ]
    if (server.command === '') return [{ message: 'archive_command is not set', next }]
    const is = bytesToText(server.command)
    return commandProblems(server, archiving).map((problem) => ({
      message: `archive_command ${problem}; it is: ${is}`,
      next,
    }))
  },
})
