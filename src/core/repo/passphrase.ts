import { isBackupLabel } from '../../format/backup-label.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { loadArchiveInfo } from '../archive-info-store.ts'
import { loadBackupInfo } from '../backup-info-store.ts'
import { loadManifest } from '../manifest-store.ts'
import type { Repository } from '../repository.ts'

/**
 * The passphrase of one file of a repository. There are three levels: the passphrase of the repository decrypts the
 * info files, which contain those of the archive and of the manifests; a manifest contains that of its backup.
 *
 * @returns undefined if the repository is not encrypted
 * @throws PgtsError as the loaders of info files do; param-invalid for a file that has no passphrase of its own
 */
export async function passphraseOf(
  repository: Repository,
  name: ByteString,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { cipher, storage } = repository
  if (cipher === undefined) return undefined
  const [top, stanza, third = '', fourth] = name.split('/')
  const isWalTimes = top === 'pgts' && third === 'wal-times'
  if (stanza === undefined || (!isWalTimes && top !== 'archive' && top !== 'backup')) return cipher.passphrase()
  if (fourth === undefined && /^(archive|backup)\.info(\.copy)?$/.test(third)) return cipher.passphrase()
  if (top === 'archive' || isWalTimes) return (await loadArchiveInfo(repository, stanza, { signal })).cipherPass
  const info = await loadBackupInfo(repository, stanza, { signal })
  if (third === 'backup.history' || /^backup\.manifest(\.copy)?$/.test(fourth ?? '')) return info.cipherPass
  if (!isBackupLabel(third)) {
    throw new PgtsError(
      'param-invalid',
      `${bytesToText(name)} is not a file of pgts or pgbackrest, so its passphrase is unknown`,
      {
        hints: ['use --raw to print it without decryption'],
      },
    )
  }
  return (await loadManifest(storage, stanza, third, info, { signal })).cipherPass
}
