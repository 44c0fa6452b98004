import { decrypt, encrypt, isEncrypted } from '../../codec/cipher.ts'
import { isBackupLabel } from '../../format/backup-label.ts'
import { ownPath } from '../../format/repo-path.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import type { Repository } from '../repository.ts'
import type { Pin } from './pins.ts'
import { bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import { repoId } from '../../util/repo-id.ts'

/** The file of pinned backups, in pgts's own folder, which pgbackrest does not read. */
export function pinsName(stanza: string): ByteString {
  return bytes`${ownPath(stanza)}/pins.json`
}

const VERSION = 1

/**
 * The pins of a stanza in one repository; empty if there is no file. An unreadable file is an error: without the pins
 * no backup may be removed.
 *
 * @throws PgtsError crypto for a wrong passphrase, format for an invalid file
 */
export async function loadPins(repository: Repository, stanza: string, signal?: AbortSignal): Promise<Pin[]> {
  const name = pinsName(stanza)
  let stored: Buffer
  try {
    stored = await getFile(repository.storage, name, signal === undefined ? {} : { signal })
  } catch (error) {
    if (isPgtsError(error, 'file-missing')) return []
    throw error
  }
  const pins = parsePins(decryptPins(repository, stored, name))
  if (pins === undefined) {
    throw new PgtsError('format', `${repository.storage.display}/${bytesToText(name)} is not a valid file of pins`, {
      hints: [
        'restore it from a snapshot of the repository, or remove it and pin the backups again',
        'expire removes nothing from this repository until then',
      ],
    })
  }
  return pins
}

/** Written completely or not at all. The caller holds the backup lock. */
export async function savePins(repository: Repository, stanza: string, pins: readonly Pin[]): Promise<void> {
  const text = Buffer.from(`${JSON.stringify({ version: VERSION, pins }, null, 1)}\n`)
  await putFile(
    repository.storage,
    pinsName(stanza),
    repository.cipher === undefined ? text : encrypt(text, repository.cipher.passphrase()),
  )
}

function decryptPins({ cipher, key, storage }: Repository, stored: Buffer, name: ByteString): string {
  if (cipher === undefined) {
    if (!isEncrypted(stored)) return stored.toString()
    throw new PgtsError(
      'crypto',
      `${storage.display}/${bytesToText(name)} is encrypted, but no cipher is configured for ${repoId(key)}`,
    )
  }
  if (!isEncrypted(stored)) {
    throw new PgtsError('crypto', `${storage.display}/${bytesToText(name)} is not encrypted, but the repository is`)
  }
  try {
    return decrypt(stored, cipher.passphrase()).toString()
  } catch (cause) {
    if (!isPgtsError(cause, 'crypto')) throw cause
    throw new PgtsError(
      'crypto',
      `wrong passphrase: ${cipher.origin} does not decrypt ${storage.display}/${bytesToText(name)}`,
      {
        cause,
      },
    )
  }
}

/** undefined: the text is invalid, or of a newer version, whose pins may have another meaning. */
function parsePins(text: string): Pin[] | undefined {
  try {
    const { version, pins } = JSON.parse(text) as { version?: unknown; pins?: unknown }
    if (version !== VERSION || !Array.isArray(pins)) return undefined
    return pins.every(isPin) ? pins : undefined
  } catch {
    return undefined
  }
}

function isPin(value: unknown): value is Pin {
  if (typeof value !== 'object' || value === null) return false
  const { label, reason, until, since } = value as Record<string, unknown>
  return (
    typeof label === 'string' &&
    isBackupLabel(label) &&
    (reason === undefined || typeof reason === 'string') &&
    (until === undefined || Number.isFinite(until)) &&
    Number.isFinite(since)
  )
}
