import { promisify } from 'node:util'
import { checkManifest } from '../format/manifest-check.ts'
import { parseManifest } from '../format/manifest-parse.ts'
import { serialiseManifest } from '../format/manifest-serialise.ts'
import type { Manifest, WritableManifest } from '../format/manifest.ts'
import { copyName, manifestHistoryName, manifestName } from '../format/repo-path.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { putFile } from '../storage/whole-file.ts'
import { PgtsError } from '../util/error.ts'
import { manifestCipherOf, type InfoCipher, type ManifestKey } from './info-cipher.ts'
import { getInfoFile, loadEither, type LoadOptions } from './info-pair.ts'

/**
 * Loads the manifest of a finished backup; with `partial` that of an unfinished one, which exists as a copy only.
 *
 * @throws PgtsError as loadArchiveInfo; file-invalid for the manifest of another label or of an unfinished backup;
 * format for an inconsistent one, see checkManifest
 */
export async function loadManifest(
  storage: StorageDriver,
  stanza: string,
  label: string,
  key: ManifestKey,
  options: LoadOptions & { readonly partial?: boolean } = {},
): Promise<Manifest> {
  const name = manifestName(stanza, label)
  const cipher = manifestCipherOf(key)
  const parse = (bytes: Buffer): Manifest => {
    const manifest = parseManifest(bytes)
    if (manifest.label !== label) {
      throw new PgtsError('file-invalid', `the manifest in ${label} belongs to backup ${manifest.label}`, {
        hints: ['check whether a backup directory was copied or renamed'],
      })
    }
    if (manifest.db.historyId === 0 && options.partial !== true) {
      throw new PgtsError('file-invalid', `backup ${label} is not finished, so it cannot be used`)
    }
    if (options.partial !== true) checkManifest(manifest, label)
    return manifest
  }
  if (options.partial === true) {
    const stored = await getInfoFile(storage, copyName(name), { signal: options.signal })
    return parse(cipher.open(stored, `the manifest of ${label}`))
  }
  const missingHints = ['run info to see the usable backups; the next backup or expire removes this one from the list']
  return loadEither(storage, { name, cipher, parse, missingHints }, options)
}

/**
 * Writes `backup.manifest.copy` only: an unfinished backup has no `backup.manifest`, so no command accepts it as
 * usable.
 */
export function saveManifestCopy(
  storage: StorageDriver,
  stanza: string,
  manifest: WritableManifest,
  key: ManifestKey,
): Promise<void> {
  const bytes = manifestCipher(manifest, key).close(serialiseManifest(manifest))
  return putFile(storage, copyName(manifestName(stanza, manifest.label)), bytes)
}

/**
 * Writes the copy first, then `backup.manifest`: from then on the backup exists.
 *
 * @param text the manifest, serialised
 */
export async function saveManifest(
  storage: StorageDriver,
  stanza: string,
  manifest: WritableManifest,
  key: ManifestKey,
  text: Buffer = serialiseManifest(manifest),
): Promise<void> {
  const name = manifestName(stanza, manifest.label)
  const bytes = manifestCipher(manifest, key).close(text)
  await putFile(storage, copyName(name), bytes)
  await putFile(storage, name, bytes)
}

/** Compresses a manifest for `backup.history`, on the thread pool. */
export function compressManifest(text: Buffer): Promise<Buffer> {
  return promisify(process.getBuiltinModule('node:zlib').gzip)(text, { level: 9 })
}

/**
 * Writes the compressed manifest to `backup.history`, where it stays when the backup is removed.
 *
 * @param compressing result of `compressManifest`
 */
export async function saveManifestHistory(
  storage: StorageDriver,
  stanza: string,
  manifest: WritableManifest,
  key: ManifestKey,
  compressing: Promise<Buffer> = compressManifest(serialiseManifest(manifest)),
): Promise<void> {
  const cipher = manifestCipher(manifest, key)
  await putFile(storage, manifestHistoryName(stanza, manifest.label), cipher.close(await compressing))
}

/** An encrypted repository has a passphrase on every level, an unencrypted one on none. */
function manifestCipher(manifest: WritableManifest, key: ManifestKey): InfoCipher {
  if ((manifest.cipherPass === undefined) !== (key.cipherPass === undefined))
    throw new PgtsError('assert', `the manifest of ${manifest.label} and backup.info do not agree about encryption`)
  return manifestCipherOf(key)
}
