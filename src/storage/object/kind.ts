import type { ObjectKind } from './client.ts'

/**
 * The purpose of a repository file, by its name (the layout of format/repo-path.ts). Manifests in backup.history count
 * as manifests: expire and reports read them. The small files in pgts's own folder are read as often as info files.
 *
 * @param name relative to the root of the repository
 */
export function kindOf(name: string): ObjectKind {
  const base = name.slice(name.lastIndexOf('/') + 1)
  if (/^(backup|archive)\.info(\.copy)?$/.test(base) || name.startsWith('pgts/')) return 'info'
  if (/^backup\.manifest(\.copy)?$/.test(base) || /^backup\/[^/]+\/backup\.history\//.test(name)) return 'manifest'
  return name.startsWith('archive/') ? 'wal' : 'data'
}
