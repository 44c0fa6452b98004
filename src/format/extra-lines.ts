import { compareBytes } from '../util/byte-string.ts'
import type { InfoEntry, InfoFile, InfoSection } from './info-file.ts'

/** A line of an info file that is unknown to this release; kept unchanged for newer programs. */
export interface ExtraLine {
  readonly section: string
  readonly key: string
  /** JSON text, unchanged. */
  readonly value: string
}

/**
 * Returns the lines that `known` does not describe.
 *
 * @param known section -> its known keys, or 'all' if the keys of the section are data
 */
export function extraLines(
  file: InfoFile,
  known: Readonly<Record<string, readonly string[] | 'all'>>,
): { extra?: readonly ExtraLine[] } {
  const extra: ExtraLine[] = []
  for (const [section, content] of file.sections) {
    const keys = Object.hasOwn(known, section) ? known[section] : []
    if (keys === 'all') continue
    for (const [key, value] of content.entries) if (!keys?.includes(key)) extra.push({ section, key, value })
  }
  return extra.length === 0 ? {} : { extra }
}

/** Inserts the kept lines into the sections, in byte order. */
export function withExtraLines(sections: InfoSection[], extra: readonly ExtraLine[] | undefined): InfoSection[] {
  if (extra === undefined) return sections
  const byName = new Map<string, InfoEntry[]>()
  for (const { section, key, value } of extra) {
    const entries = byName.get(section)
    if (entries === undefined) byName.set(section, [[key, value]])
    else entries.push([key, value])
  }
  const merged = sections.map((section) => {
    const entries = byName.get(section.name)
    byName.delete(section.name)
    return entries === undefined ? section : { name: section.name, entries: sorted([...section.entries, ...entries]) }
  })
  for (const [name, entries] of byName) merged.push({ name, entries })
  return merged
}

function sorted(entries: InfoEntry[]): InfoEntry[] {
  return entries.sort(([a], [b]) => compareBytes(a, b))
}
