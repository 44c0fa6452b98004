import { ownPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'

/** The verification state of one part of a repository: the files of a backup, or a directory of the archive. */
export interface Proof {
  /** When the whole part was last verified as intact, milliseconds since the epoch. */
  readonly provenMs?: number
  /** Number of pieces; another number means that the part has changed since. */
  readonly pieces: number
  /** Number of consecutive pieces verified before the time limit: the next run continues after them. */
  readonly donePieces?: number
}

/** Keys: `backup/20261122-062513F`, `archive/15-1/0000000100000000`. */
export type VerifyMemory = ReadonlyMap<string, Proof>

/** In pgts's own folder, which no command of pgbackrest reads. */
export function memoryName(stanza: string): ByteString {
  return bytes`${ownPath(stanza)}/verify.json`
}

/** Only a hint for what need not be read again: an unreadable file is treated as empty. */
export async function loadMemory(storage: StorageDriver, stanza: string, signal: AbortSignal): Promise<VerifyMemory> {
  try {
    const text = (await getFile(storage, memoryName(stanza), { signal })).toString()
    const { version, parts } = JSON.parse(text) as { version?: unknown; parts?: unknown }
    if (version !== VERSION || typeof parts !== 'object' || parts === null) return new Map()
    return new Map(Object.entries(parts).filter((part): part is [string, Proof] => isProof(part[1])))
  } catch {
    signal.throwIfAborted()
    return new Map()
  }
}

export async function saveMemory(storage: StorageDriver, stanza: string, memory: VerifyMemory): Promise<void> {
  const parts = Object.fromEntries([...memory].sort(([a], [b]) => (a < b ? -1 : 1)))
  await putFile(storage, memoryName(stanza), Buffer.from(`${JSON.stringify({ version: VERSION, parts }, null, 1)}\n`))
}

const VERSION = 1

function isProof(value: unknown): value is Proof {
  if (typeof value !== 'object' || value === null) return false
  const { provenMs, pieces, donePieces } = value as Record<string, unknown>
  const count = (given: unknown) => given === undefined || (Number.isSafeInteger(given) && (given as number) >= 0)
  return count(provenMs) && pieces !== undefined && count(pieces) && count(donePieces)
}
