import { PgtsError } from '../util/error.ts'

/** The known members of a line of `[target:file]`. */
const KEYS = [
  'bi',
  'bic',
  'bim',
  'bni',
  'bno',
  'checksum',
  'checksum-page',
  'checksum-page-error',
  'group',
  'mode',
  'rck',
  'reference',
  'repo-size',
  'size',
  'szo',
  'timestamp',
  'user',
] as const

export type FileKey = (typeof KEYS)[number]

/**
 * Length, middle and last letter are unique among the known names; the whole name is compared afterwards, because
 * unknown names may occur.
 */
const KEY_BY_SIGNATURE: (readonly [FileKey, Uint8Array] | undefined)[] = []
for (const key of KEYS) {
  const bytes = Buffer.from(key)
  const slot = signature(bytes, 0, bytes.length)
  if (KEY_BY_SIGNATURE[slot] !== undefined) throw new PgtsError('assert', `${key} has the signature of another key`)
  KEY_BY_SIGNATURE[slot] = [key, bytes]
}

function signature(bytes: Uint8Array, start: number, end: number): number {
  const middle = bytes[(start + end) >> 1] as number
  return ((end - start) & 31) * 1024 + (middle & 31) * 32 + ((bytes[end - 1] as number) & 31)
}

/** The known member name at a position of the manifest; undefined for another name. */
export function fileKeyAt(bytes: Uint8Array, start: number, end: number): FileKey | undefined {
  const known = KEY_BY_SIGNATURE[signature(bytes, start, end)]
  if (known === undefined || known[1].length !== end - start) return undefined
  for (let i = known[1].length - 1; i >= 0; i--) if (bytes[start + i] !== known[1][i]) return undefined
  return known[0]
}
