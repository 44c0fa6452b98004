import { checkManifest, type Manifest } from '../../format/manifest.ts'
import { PgtsError } from '../../util/error.ts'
import { loadCodec } from '../../codec/registry.ts'
import { assertSafeNames } from './safe-names.ts'

/**
 * Can this backup be restored by this build? Asked before anything on disk is touched.
 * [029] the manifest is damaged, [067] it uses something that pgts does not read yet.
 */
export async function assertRestorable(manifest: Manifest, label: string): Promise<void> {
  checkManifest(manifest, label)
  if (manifest.files.length === 0) {
    throw new PgtsError('format', `manifest of backup ${label} lists no files`)
  }
  assertSafeNames(manifest)
  const useOther = ['restore it with pgbackrest, or choose a backup without this with --set']
  if (manifest.cipherPass !== undefined) {
    throw new PgtsError('feature-not-supported', `backup ${label} is encrypted, which pgts does not read yet`, {
      hints: useOther,
    })
  }
  const blocks = manifest.files.filter((file) => file.blockMapSize !== undefined)
  if (blocks.length > 0) {
    throw new PgtsError(
      'feature-not-supported',
      `backup ${label} stores ${blocks.length} files as block incremental, which pgts does not read yet`,
      { hints: useOther },
    )
  }
  await loadCodec(manifest.options.compressType)
}

/** The manifest without what this restore does not bring back; what was left out is said through `detail`. */
export function withoutSkipped(
  manifest: Manifest,
  options: { readonly keepsRecoverySettings: boolean },
  detail: (message: string) => void,
): Manifest {
  const skip = new Set(['pg_data/tablespace_map'])
  if (options.keepsRecoverySettings) skip.add('pg_data/postgresql.auto.conf')
  const files = manifest.files.filter((file) => {
    if (!skip.has(file.name)) return true
    detail(
      file.name === 'pg_data/tablespace_map'
        ? "skip 'tablespace_map' -- tablespace links will be created based on mappings"
        : "skip 'postgresql.auto.conf' -- recovery type is preserve",
    )
    return false
  })
  return { ...manifest, files }
}
