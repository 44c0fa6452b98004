import { timeText } from '../../archive/status/diagnose.ts'
import { exitCodeText } from '../../../util/error.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import { defineRule } from '../rule.ts'

export const archiveFailing = defineRule({
  id: 'archive-failing',
  area: 'archive',
  severity: 'error',
  reports: 'archive_command failed after its last success, with the reason that the background process recorded',
  why: 'WAL stays in pg_wal until the disk is full, and is lost with this host',
  needs: ['archiving'],
  check: ({ archiving: { server, spool, pgPath } }, site) => {
    // Without archive-async an earlier background process may have left some.
    const reasons = site.archiveAsync ? (spool?.errors ?? []).slice(0, 1) : []
    const because = reasons.map(({ code, message }) => `: ${exitCodeText(code)} ${message}`).join('')
    const failed = server?.lastFailed
    if (failed === undefined || failed.timeMs <= (server?.lastArchived?.timeMs ?? 0)) {
      return reasons.map(({ file }) => ({
        message: `the background process cannot push ${file === 'global' ? 'any file' : file}${because}`,
        next: [site.pgts('archive-status')],
      }))
    }
    const command = bytesToText(server!.command).replaceAll('%p', `pg_wal/${failed.file}`).replaceAll('%f', failed.file)
    return [
      {
        message:
          `archive_command failed for ${failed.file} at ${timeText(failed.timeMs)}, ` +
          `${server!.failedCount} failures so far${because}`,
        next: ["# see the server's log, or run it by hand as the user of the server", `cd ${pgPath} && ${command}`],
      },
    ]
  },
})
