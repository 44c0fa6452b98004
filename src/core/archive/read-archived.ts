import { decrypt } from '../../codec/cipher.ts'
import type { Cancellable, StorageDriver } from '../../storage/driver.ts'
import { getFile } from '../../storage/whole-file.ts'

/**
 * A small file of the archive that is stored uncompressed: timeline and backup history.
 *
 * @param cipherPass passphrase of the archive; undefined: the repository is not encrypted
 * @throws PgtsError crypto when it cannot be decrypted
 */
export async function readArchived(
  storage: StorageDriver,
  repoName: string,
  cipherPass: string | undefined,
  options: Cancellable = {},
): Promise<Buffer> {
  const stored = await getFile(storage, repoName, options)
  return cipherPass === undefined ? stored : decrypt(stored, cipherPass)
}
