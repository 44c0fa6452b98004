import type { ByteString } from '../../util/byte-string.ts'
import type { Logger } from '../../util/log.ts'
import { readSmallFile, removeEntry, syncDirectory, writeSmallFile, type OwnerIds } from '../restore/file-system.ts'
import { copyMarkPath, hasCopyMark } from './copy-mark-path.ts'

/** Why a restored cluster is a copy. */
export type CopyReason =
  /** It was restored to another directory than that of the original. */
  | { readonly kind: 'path'; readonly home: string }
  /** It was restored on a host that never archived this stanza; the names of some that did. */
  | { readonly kind: 'host'; readonly hosts: readonly string[] }

export interface CopyMark {
  readonly stanza: string
  /** The repositories of that stanza, as `repositoryPlace` describes them. */
  readonly places: readonly string[]
  readonly label: string
  readonly reason: CopyReason
  /** Name of the host on which it was restored. */
  readonly host: string
  readonly restoredMs: number
}

/** `unknown`: the file exists, but this version cannot read it. It still means that the cluster is a copy. */
export type FoundMark = CopyMark | 'unknown'

/** The stanza and repositories that a cluster wants to archive into, and how its server is asked. */
export interface CopyCheck {
  readonly stanza: string
  /** The places of the stanza's repositories, as `repositoryPlaces` describes them; called only if there is a mark. */
  readonly places: () => Promise<readonly string[]>
  /** Name of the command, for pg_stat_activity. */
  readonly command: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Logger
  readonly signal: AbortSignal
}

const FORMAT = 1

export function readCopyMark(pgPath: ByteString): FoundMark | undefined {
  const content = readSmallFile(copyMarkPath(pgPath))
  return content === undefined ? undefined : parseCopyMark(content)
}

/** Durable when it returns. */
export function writeCopyMark(
  pgPath: ByteString,
  mark: CopyMark,
  own: { readonly mode: number; readonly owner: OwnerIds | undefined },
): void {
  writeSmallFile(copyMarkPath(pgPath), serialiseCopyMark(mark), own.mode, own.owner)
  syncDirectory(pgPath)
}

/** @returns false if there was none */
export function removeCopyMark(pgPath: ByteString): boolean {
  if (!hasCopyMark(pgPath)) return false
  removeEntry(copyMarkPath(pgPath))
  syncDirectory(pgPath)
  return true
}

export function serialiseCopyMark(mark: CopyMark): Buffer {
  return Buffer.from(`${JSON.stringify({ format: FORMAT, ...mark })}\n`)
}

export function parseCopyMark(content: Buffer): FoundMark {
  try {
    const value = JSON.parse(content.toString('utf8')) as Record<string, unknown>
    const { format, stanza, places, label, host, restoredMs } = value
    const reason = reasonOf(value.reason)
    if (format !== FORMAT || typeof stanza !== 'string' || typeof label !== 'string') return 'unknown'
    if (typeof host !== 'string' || typeof restoredMs !== 'number') return 'unknown'
    if (!isTexts(places) || reason === undefined) return 'unknown'
    return { stanza, places, label, reason, host, restoredMs }
  } catch {
    return 'unknown'
  }
}

function reasonOf(value: unknown): CopyReason | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { kind, home, hosts } = value as Record<string, unknown>
  if (kind === 'path' && typeof home === 'string') return { kind, home }
  if (kind === 'host' && isTexts(hosts)) return { kind, hosts }
  return undefined
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

/** Does the mark forbid archiving into this stanza of one of these repositories? */
export function forbids(mark: FoundMark, stanza: string, places: readonly string[]): boolean {
  if (mark === 'unknown') return true
  return mark.stanza === stanza && mark.places.some((place) => places.includes(place))
}
