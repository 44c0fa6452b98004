import type { HeldLock } from '../../util/lock.ts'
import type { InfoLock, Progress } from './report.ts'

/**
 * The locks on this host for the repositories `repoKeys`. A lock file without a repository number is that of pgBackRest
 * 2.45, or the one that pgts takes in addition for compatibility; it is used only if no lock with a number is held.
 */
export function backupLock(locks: readonly HeldLock[], repoKeys: readonly number[]): InfoLock {
  const held = locksOf(locks, 'backup', repoKeys)
  const repos = held.flatMap(({ repoKey, lock }) => {
    const progress = progressOf(lock)
    return progress === undefined ? [] : [{ repoKey, ...progress }]
  })
  if (repos.length === 0) {
    const hundredths = held.find(({ lock }) => lock.pctCplt !== undefined)?.lock.pctCplt
    return { held: held.length > 0, hundredths }
  }
  return { held: true, progress: total(repos), repos }
}

export function restoreLock(locks: readonly HeldLock[], repoKeys: readonly number[]): InfoLock {
  const held = locksOf(locks, 'restore', repoKeys)
  const reported = held.map(({ lock }) => progressOf(lock)).filter((progress) => progress !== undefined)
  return reported.length === 0 ? { held: held.length > 0 } : { held: true, progress: total(reported) }
}

function locksOf(locks: readonly HeldLock[], type: HeldLock['type'], repoKeys: readonly number[]) {
  const ofType = locks.filter((lock) => lock.type === type)
  const numbered = ofType.filter(({ repoKey }) => repoKey !== undefined)
  const first = repoKeys[0]
  if (numbered.length > 0) {
    return numbered
      .map((lock) => ({ repoKey: lock.repoKey as number, lock }))
      .filter(({ repoKey }) => repoKeys.includes(repoKey))
      .sort((a, b) => a.repoKey - b.repoKey)
  }
  return first === undefined ? [] : ofType.map((lock) => ({ repoKey: first, lock }))
}

function progressOf(lock: HeldLock): Progress | undefined {
  if (lock.sz === undefined || lock.sz === 0) return undefined
  return { sizeBytes: lock.sz, doneBytes: Math.min(lock.szCplt ?? 0, lock.sz) }
}

function total(parts: readonly Progress[]): Progress {
  return {
    sizeBytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    doneBytes: parts.reduce((sum, { doneBytes }) => sum + doneBytes, 0),
  }
}
