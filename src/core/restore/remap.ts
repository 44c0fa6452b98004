import { posix } from 'node:path'
import { hasFile } from '../../format/manifest-names.ts'
import type { Manifest, ManifestLink, ManifestTarget } from '../../format/manifest.ts'
import { asBytes, bytes, bytesToText, compareBytes, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

/** Where to restore; paths are byte strings. */
export interface RemapPolicy {
  /** Absolute path of the data directory. */
  readonly pgPath: ByteString
  /** Tablespace name or oid -> absolute path. */
  readonly tablespaceMap: ReadonlyMap<ByteString, ByteString>
  /** Tablespaces without an own map are restored to `<this>/<name>`. */
  readonly tablespaceMapAll?: string
  /** Create links inside the data directory again with their original destinations. */
  readonly linkAll: boolean
  /** Path relative to the data directory -> link destination. */
  readonly linkMap: ReadonlyMap<ByteString, ByteString>
}

export interface RemapNote {
  readonly level: 'info' | 'warn'
  readonly message: string
}

/**
 * The manifest with targets and links changed by the policy, and the messages about these changes. Links that are
 * neither mapped nor selected by `linkAll` are dropped; their content is restored in place.
 *
 * Throws `tablespace-map` and `link-map` for a map without a match in the backup.
 */
export function remap(manifest: Manifest, policy: RemapPolicy): { manifest: Manifest; notes: RemapNote[] } {
  const notes: RemapNote[] = []
  const say = (level: RemapNote['level'], message: string) => void notes.push({ level, message })
  const targets = new Map(manifest.targets.map((target) => [target.name, target]))
  const links = new Map(manifest.links.map((link) => [link.name, link]))

  const data = targets.get(asBytes('pg_data'))
  if (data === undefined) throw new PgtsError('format', `manifest of backup ${manifest.label} has no data directory`)
  if (data.path !== policy.pgPath) say('info', `remap data directory to '${bytesToText(policy.pgPath)}'`)
  targets.set(asBytes('pg_data'), { ...data, path: policy.pgPath })

  for (const { target, path } of tablespacePlaces(manifest, policy)) {
    say('info', `map tablespace '${bytesToText(target.name)}' to '${bytesToText(path)}'`)
    targets.set(target.name, { ...target, path })
    const linkName = bytes`pg_data/${target.name}`
    const link = links.get(linkName)
    if (link !== undefined) links.set(linkName, { ...link, destination: path })
  }

  mapLinks(manifest, policy, targets, links, say)

  if (!policy.linkAll) {
    for (const target of [...targets.values()]) {
      const relative = target.name.slice('pg_data/'.length)
      if (target.type !== 'link' || target.tablespaceId !== undefined || policy.linkMap.has(relative)) continue
      say(
        'warn',
        target.file === undefined
          ? `contents of directory link '${bytesToText(relative)}' will be restored in a directory at the same location`
          : `file link '${bytesToText(relative)}' will be restored as a file at the same location`,
      )
      targets.delete(target.name)
      links.delete(target.name)
    }
  }

  const byName = (a: { name: string }, b: { name: string }) => compareBytes(a.name, b.name)
  return {
    manifest: { ...manifest, targets: [...targets.values()].sort(byName), links: [...links.values()].sort(byName) },
    notes,
  }
}

/** The tablespaces with a new location. */
function tablespacePlaces(manifest: Manifest, policy: RemapPolicy): { target: ManifestTarget; path: ByteString }[] {
  const places: { target: ManifestTarget; path: ByteString }[] = []
  const used = new Set<string>()
  for (const target of manifest.targets) {
    if (target.tablespaceId === undefined) continue
    const name = target.tablespaceName ?? bytes`ts${target.tablespaceId}`
    const byName = policy.tablespaceMap.get(name)
    const byId = policy.tablespaceMap.get(target.tablespaceId)
    if (byName !== undefined && byId !== undefined && byName !== byId) {
      throw new PgtsError(
        'tablespace-map',
        `tablespace-map maps tablespace '${bytesToText(name)}' to '${bytesToText(byName)}' and, by its id ${bytesToText(target.tablespaceId)}, to '${bytesToText(byId)}'`,
        { hints: ['map a tablespace once, by its name or by its id'] },
      )
    }
    if (byName !== undefined) used.add(name)
    if (byId !== undefined) used.add(target.tablespaceId)
    const path =
      byName ?? byId ?? (policy.tablespaceMapAll === undefined ? undefined : joinName(policy.tablespaceMapAll, name))
    if (path === undefined) continue
    if (!path.startsWith('/')) {
      throw new PgtsError(
        'tablespace-map',
        `tablespace '${bytesToText(name)}' cannot be restored to the relative path '${bytesToText(path)}'`,
        {
          hints: ['use an absolute path'],
        },
      )
    }
    places.push({ target, path: asBytes(posix.normalize(path)).replace(/(.)\/+$/, '$1') })
  }
  for (const name of policy.tablespaceMap.keys()) {
    if (used.has(name)) continue
    const known = manifest.targets.flatMap((target) =>
      target.tablespaceId === undefined
        ? []
        : [`${bytesToText(target.tablespaceName ?? asBytes('?'))} (${bytesToText(target.tablespaceId)})`],
    )
    throw new PgtsError('tablespace-map', `unable to remap invalid tablespace '${bytesToText(name)}'`, {
      hints: [
        known.length === 0
          ? `backup ${manifest.label} has no tablespaces`
          : `tablespaces of backup ${manifest.label}: ${known.join(', ')}`,
      ],
    })
  }
  return places
}

/** Changes the destinations of links, and turns directories and files into links where an option maps them. */
function mapLinks(
  manifest: Manifest,
  policy: RemapPolicy,
  targets: Map<string, ManifestTarget>,
  links: Map<string, ManifestLink>,
  say: (level: RemapNote['level'], message: string) => void,
): void {
  const owner = manifest.paths.find((path) => path.name === 'pg_data')
  for (const [link, destination] of [...policy.linkMap].sort(([a], [b]) => compareBytes(a, b))) {
    const name = bytes`pg_data/${link}`
    const known = targets.get(name)
    if (link.startsWith('pg_tblspc/') && targets.has(link)) {
      throw new PgtsError('link-map', `unable to remap tablespace '${bytesToText(link)}' as a link`, {
        hints: ['use tablespace-map to move a tablespace'],
      })
    }
    const isFile = known === undefined ? hasFile(manifest, name) : known.file !== undefined
    if (known === undefined && !isFile && !manifest.paths.some((path) => path.name === name)) {
      throw new PgtsError('link-map', `unable to map link '${bytesToText(link)}'`, {
        hints: [`backup ${manifest.label} has no path, file or link of this name below the data directory`],
      })
    }
    if (isFile && (!destination.includes('/') || posix.basename(destination) === '..')) {
      throw new PgtsError(
        'link-map',
        `'${bytesToText(destination)}' is not long enough to be the destination for file link '${bytesToText(link)}'`,
        { hints: ['use the path of a file, for example /etc/postgresql/postgresql.conf'] },
      )
    }
    say('info', `${known === undefined ? '' : 'map '}link '${bytesToText(link)}' to '${bytesToText(destination)}'`)
    links.set(name, { user: owner?.user ?? false, group: owner?.group ?? false, ...links.get(name), name, destination })
    targets.set(name, {
      name,
      type: 'link',
      ...(isFile
        ? { path: asBytes(posix.dirname(destination)), file: asBytes(posix.basename(destination)) }
        : { path: destination }),
    })
  }
}

function joinName(directory: string, name: ByteString): ByteString {
  if (name === '.' || name === '..' || name.includes('/')) {
    throw new PgtsError('tablespace-map', `tablespace '${bytesToText(name)}' cannot have a directory of that name`, {
      hints: ['set a path for this tablespace with tablespace-map'],
    })
  }
  return bytes`${directory}/${name}`
}
