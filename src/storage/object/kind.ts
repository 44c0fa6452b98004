import type { ObjectKind } from './client.ts'

/**
 * What a repository file is for, by its name (the layout is format/repo-path.ts's). Kept manifests of expired backups
 * count as manifests: expire and reports read them. The small files of pgts's own folder are read as often as info files.
 *
 * @param name from the repository's root
 */
export function kindOf(name: string): ObjectKind {
  const base = name.slice(name.lastIndexOf('/') + 1)
  if (/^(backup|archive)\.info(\.copy)?$/.test(base) || name.startsWith('pgts/')) return 'info'
  if (/^backup\.manifest(\.copy)?$/.test(base) || /^backup\/[^/]+\/backup\.history\//.test(name)) return 'manifest'
  return name.startsWith('archive/') ? 'wal' : 'data'
}
