import { compareBytes } from './byte-string.ts'

export type LockType = 'archive' | 'backup' | 'restore'

/**
 * Progress of the process that holds the lock. Sizes are bytes: the total (`sz`) and the completed part (`szCplt`),
 * always both.
 */
export interface LockProgress {
  /** Hundredths of a percent, a whole number: 1526 is 15.26 %. */
  readonly pctCplt?: number
  readonly sz?: number
  readonly szCplt?: number
}

export interface LockContent extends LockProgress {
  readonly execId: string
  readonly pid: number
}

/** One lock file. */
export interface LockName {
  readonly name: string
  /** Absent: the name of pgBackRest 2.45, one file for all repositories. */
  readonly repoKey?: number
}

/** The files in the order in which every command takes them. */
export function lockNames(stanza: string, types: readonly LockType[], repoKeys: readonly number[]): LockName[] {
  const keys = [...new Set(repoKeys)].sort((a, b) => a - b)
  return [...new Set(types)]
    .sort(compareBytes)
    .flatMap((type) => [
      { name: `${stanza}-${type}.lock` },
      ...keys.map((repoKey) => ({ name: `${stanza}-${type}-${repoKey}.lock`, repoKey })),
    ])
}

/** Keys in the order of the format, in which pgBackRest reads them. */
export function serialiseLockContent(content: LockContent): string {
  const { execId, pctCplt, pid } = content
  // A single size crashes `pgbackrest info` of 2.59 with a null pointer.
  const { sz, szCplt } = content.sz === undefined || content.szCplt === undefined ? {} : content
  return JSON.stringify({ execId, pctCplt, pid, sz, szCplt })
}

/** @throws SyntaxError when the text is not the content of a lock file */
export function parseLockContent(text: string): LockContent {
  const value = JSON.parse(text) as Partial<Record<keyof LockContent, unknown>>
  if (typeof value.execId !== 'string' || typeof value.pid !== 'number') throw new SyntaxError('not a lock file')
  const number = (key: 'pctCplt' | 'sz' | 'szCplt') => (typeof value[key] === 'number' ? { [key]: value[key] } : {})
  return { execId: value.execId, pid: value.pid, ...number('pctCplt'), ...number('sz'), ...number('szCplt') }
}
