import type { HeldLock } from '../../util/lock.ts'
import type { InfoLock, Progress } from './report.ts'

/**
 * What the locks that are held on this host say of the repositories `repoKeys`. A lock without a repository is that of
 * pgBackRest 2.45, or the second one that pgts takes for its sake; it counts when nobody holds one with a number.
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
  const told = held.map(({ lock }) => progressOf(lock)).filter((progress) => progress !== undefined)
  return told.length === 0 ? { held: held.length > 0 } : { held: true, progress: total(told) }
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
