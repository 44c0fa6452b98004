import { createHash } from 'node:crypto'
import type { Stage } from './stage.ts'

/** A stage that lets bytes through and remembers how many they were and what they hash to. */
export interface DigestTap extends Stage {
  /** Bytes that passed so far. */
  readonly bytes: number
  /** Lower-case hex of all bytes that passed. The first call ends the hash: nothing may be pushed after it. */
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
