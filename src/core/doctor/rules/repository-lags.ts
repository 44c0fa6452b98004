import { ago } from '../../archive/status/diagnose.ts'
import { repoId } from '../../../util/repo-id.ts'
import { readable, lastBackupMs, newestSegment, type ReadableRepository } from '../readable.ts'
import { defineRule, type Found } from '../rule.ts'

/** Fewer segments may be in flight. */
const WAL_LAG_SEGMENTS = 4
/** A backup that is this much older than that of another repository is reported. */
const BACKUP_LAG_MS = 8 * 86_400_000

export const repositoryLags = defineRule({
  id: 'repository-lags',
  area: 'repository',
  severity: 'warning',
  reports: 'a repository has less WAL than another one, or its last backup is more than eight days older',
  why: 'if the other repository is lost, so is what this one lacks',
  needs: ['repositories'],
  check: ({ repositories }, site) => {
    const known = readable(repositories)
    return known.flatMap((one) => [...walLag(one, known, site.pgts('archive-status')), ...backupLag(one, known, site)])
  },
})

function walLag(one: ReadableRepository, all: readonly ReadableRepository[], next: string): Found[] {
  const own = newestSegment(one)
  const ahead = all.find((other) => numberOf(newestSegment(other)) - numberOf(own) >= WAL_LAG_SEGMENTS)
  if (ahead === undefined) return []
  const message = `its newest WAL is ${own ?? 'none'}, and ${repoId(ahead.key)} has ${newestSegment(ahead) ?? ''}`
  return [{ repoKey: one.key, message, next: [next] }]
}

/** Only differences count: of segments of 16 MiB, and of others within the same log. */
function numberOf(segment: string | undefined): number {
  return segment === undefined
    ? -WAL_LAG_SEGMENTS
    : Number.parseInt(segment.slice(8, 16), 16) * 256 + Number.parseInt(segment.slice(16, 24), 16)
}

function backupLag(
  one: ReadableRepository,
  all: readonly ReadableRepository[],
  site: { readonly nowMs: number; pgts(command: string, ...options: string[]): string },
): Found[] {
  const own = lastBackupMs(one)
  const newest = Math.max(...all.map((other) => lastBackupMs(other) ?? 0))
  if (own === undefined || newest - own < BACKUP_LAG_MS) return []
  const message = `its last backup is ${ago(newest - own)} older than that of another repository`
  return [{ repoKey: one.key, message, next: [site.pgts('backup', `--repo=${one.key}`)] }]
}
