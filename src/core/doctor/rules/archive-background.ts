import { ago } from '../../archive/status/diagnose.ts'
import { repoId } from '../../../util/repo-id.ts'
import { defineRule, type Found } from '../rule.ts'

/** A push that takes longer is reported. */
const SLOW_MS = 60_000
/** The process writes its status every 10 s; later it is stuck. */
const SILENT_MS = 60_000

export const archiveBackground = defineRule({
  id: 'archive-background',
  area: 'archive',
  severity: 'error',
  reports: 'the background process of archive-push is blocked, does not react, or cannot store in a repository',
  why: 'WAL is not archived, or not in every repository',
  needs: ['archiving'],
  check: ({ archiving: { spool, nowMs } }, site) => {
    const { status, pushPid } = spool ?? {}
    if (status === undefined || pushPid === undefined || status.pid !== pushPid) return []
    const next = [site.pgts('archive-status')]
    const found: Found[] = []
    const silentMs = nowMs - status.updatedMs
    if (silentMs > SILENT_MS) {
      found.push({
        message: `the background process (pid ${pushPid}) has not written its status for ${ago(silentMs)}`,
        next: [...next, '# if it is stuck, end it: the next archive_command starts another', `kill ${pushPid}`],
      })
    }
    if (status.state === 'blocked')
      found.push({ message: `the background process (pid ${pushPid}) cannot work: ${status.why ?? ''}`, next })
    for (const { key, trouble: failure } of status.repositories) {
      if (failure === undefined) continue
      const message = `no WAL can be stored for ${ago(nowMs - failure.sinceMs)}: ${failure.message.split('\n')[0] ?? ''}`
      found.push({ repoKey: key, message, next: [...next, site.pgts('repo-ls', `--repo=${key}`)] })
    }
    const oldest = status.inHand.toSorted((a, b) => a.sinceMs - b.sinceMs)[0]
    if (found.length === 0 && oldest !== undefined && nowMs - oldest.sinceMs > SLOW_MS) {
      const repos = status.repositories.map(({ key }) => repoId(key)).join(', ')
      const message = `the push of ${oldest.file} to ${repos} has lasted for ${ago(nowMs - oldest.sinceMs)}`
      found.push({ severity: 'warning', message, next })
    }
    return found
  },
})
