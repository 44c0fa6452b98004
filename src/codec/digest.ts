import { createHash } from 'node:crypto'
import type { Stage } from './stage.ts'

/** A stage that passes bytes unchanged and counts them. */
export interface CountTap extends Stage {
  /** Number of bytes so far. */
  readonly bytes: number
}

/** A stage that passes bytes unchanged, counts and hashes them. */
export interface DigestTap extends CountTap {
  /** Lower-case hex of the hash of all bytes. The first call ends the hash: no bytes may be pushed after it. */
  hex(): string
}

export function digest(algorithm: 'sha1' | 'sha256'): DigestTap {
  const hash = createHash(algorithm)
  let bytes = 0
  let hex: string | undefined
  return {
    push(chunk) {
      hash.update(chunk)
      bytes += chunk.length
      return [chunk]
    },
    finish: () => [],
    get bytes() {
      return bytes
    },
    hex: () => (hex ??= hash.digest('hex')),
  }
}

export function counter(): CountTap {
  let bytes = 0
  return {
    push(chunk) {
      bytes += chunk.length
      return [chunk]
    },
    finish: () => [],
    get bytes() {
      return bytes
    },
  }
}
