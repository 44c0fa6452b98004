import { rmSync } from 'node:fs'
import { pathOf, type ByteString } from './byte-string.ts'
import { systemCode } from './error.ts'

/**
 * Removes a file, a link (not its target) or a directory with everything below it. Other processes may add and remove
 * entries at the same time: Node's own retries do not read the directory again, so the whole removal is repeated.
 *
 * @param path absolute byte string; an absent path is a success
 * @throws the system's error
 */
export function removeTreeSync(path: ByteString): void {
  for (let attempt = 1; ; attempt++) {
    try {
      return rmSync(pathOf(path), { recursive: true, force: true })
    } catch (error) {
      if (attempt === ATTEMPTS || !CHANGED_MEANWHILE.has(systemCode(error) ?? '')) throw error
    }
  }
}

const ATTEMPTS = 100
const CHANGED_MEANWHILE = new Set(['ENOTEMPTY', 'EEXIST', 'ENOENT'])
