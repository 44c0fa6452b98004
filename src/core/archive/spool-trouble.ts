import { unlinkSync, writeFileSync } from 'node:fs'
import { bytesToText, pathOf } from '../../util/byte-string.ts'
import { isPgtsError, PgtsError, systemCode } from '../../util/error.ts'
import type { SpoolPaths } from './spool-files.ts'

/** The spool cannot be used: full, read-only, not this user's. It is only a way, so the work is done without it. */
export class SpoolTrouble extends Error {
  constructor(override readonly cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause))
  }

  /** One line and its hints. */
  words(): string {
    const hints = isPgtsError(this.cause) ? this.cause.hints : []
    return [this.message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n')
  }
}

/** What fails in here is the spool's fault. That another cluster uses it is not: two servers would archive as one. */
export async function inSpool<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw isPgtsError(error, 'lock-acquire') ? error : new SpoolTrouble(error)
  }
}

/** Write a little and take it away again: a full file system shows only then. @throws SpoolTrouble */
export function requireRoom(spool: SpoolPaths): void {
  const path = `${spool.own}/${process.pid}-room.tmp`
  try {
    writeFileSync(pathOf(path), 'room?')
  } catch (cause) {
    const code = systemCode(cause) ?? String(cause)
    const full = code === 'ENOSPC' || code === 'EDQUOT'
    const hint = full ? 'make room in the file system of spool-path' : 'see spool-path, its owner and how it is mounted'
    throw new SpoolTrouble(
      new PgtsError('file-write', `cannot write into the spool directory ${bytesToText(spool.root)}: ${code}`, {
        hints: [hint],
        cause,
      }),
    )
  } finally {
    try {
      unlinkSync(pathOf(path))
    } catch {
      // It was not made.
    }
  }
}
