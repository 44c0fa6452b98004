import { existsSync } from 'node:fs'
import { PgtsError } from './error.ts'

/** The stop file that stands for this stanza, or for all; undefined when none does. It is empty: its name says it all. */
export function stopFileOf(lockPath: string, stanza: string): string | undefined {
  return [...(stanza === '' ? [] : [`${lockPath}/${stanza}.stop`]), `${lockPath}/all.stop`].find((path) =>
    existsSync(path),
  )
}

/** @throws stop when an operator has stopped this stanza, or all */
export function assertNotStopped(lockPath: string, stanza: string): void {
  const path = stopFileOf(lockPath, stanza)
  if (path === undefined) return
  const which = path.endsWith('/all.stop') ? 'all stanzas are' : `stanza ${stanza} is`
  throw new PgtsError('stop', `${which} stopped: ${path} exists`, {
    hints: ["when the maintenance is over, run 'pgbackrest start' or remove the file"],
  })
}
