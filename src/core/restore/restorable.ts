import type { Manifest } from '../../format/manifest.ts'
import { COPY_MARK } from '../cluster-copy/copy-mark-path.ts'
import { bytes, bytesToText } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { lazyList } from '../../util/lazy-list.ts'
import { loadCodec } from '../../codec/registry.ts'

/**
 * Checks that this build can restore the backup, before anything on disk is changed. Throws [029] if the manifest lists
 * no files, [067] if this build cannot read its compression.
 */
export async function assertRestorable(manifest: Manifest, label: string): Promise<void> {
  if (manifest.files.length === 0) {
    throw new PgtsError('format', `manifest of backup ${label} lists no files`)
  }
  await loadCodec(manifest.options.compressType)
}

/**
 * The manifest without the files that this restore omits: tablespace_map, from which the server would create the links
 * at their old destinations, the mark of a copy, and settings to preserve.
 *
 * @param preserved names in the data directory
 */
export function withoutSkipped(
  manifest: Manifest,
  preserved: readonly string[],
  detail: (message: string) => void,
): Manifest {
  const skip = new Map(preserved.map((name) => [`pg_data/${name}`, 'recovery type is preserve']))
  skip.set('pg_data/tablespace_map', 'tablespace links are created by the restore')
  // In a backup of a copy that pgbackrest took.
  skip.set(bytes`pg_data/${COPY_MARK}`, 'each restore decides whether the cluster is a copy')
  const kept: number[] = []
  let index = 0
  for (const { name } of manifest.files) {
    const why = skip.get(name)
    if (why === undefined) kept.push(index)
    else detail(`skip '${bytesToText(name.slice('pg_data/'.length))}' -- ${why}`)
    index++
  }
  if (kept.length === index) return manifest
  const places = Uint32Array.from(kept)
  const { files } = manifest
  return { ...manifest, files: lazyList(places.length, (place) => files.at(places[place]!)!) }
}
