import { OtherFormatError } from '../format/info-file.ts'
import { copyName } from '../format/repo-path.ts'
import type { Cancellable, StorageDriver } from '../storage/driver.ts'
import { getFile, putFile } from '../storage/whole-file.ts'
import { asBytes, bytesToText, type ByteString } from '../util/byte-string.ts'
import { type ErrorCode, isPgtsError, messageOf, PgtsError, toPlainError } from '../util/error.ts'
import type { Logger } from '../util/log.ts'
import { inParallel } from '../util/parallel.ts'
import { infoCipherOf, type InfoCipher, type ManifestKey } from './info-cipher.ts'
import { STANZA_HINTS } from './info-missing.ts'
import type { Repository } from './repository.ts'

export interface LoadOptions {
  readonly signal?: AbortSignal
  /** Receives a warning if the copy was used instead of an unusable file. */
  readonly log?: Logger
}

/** True if the error is about the file itself. A store that cannot be reached says nothing about the file. */
export function isDamage(error: unknown): boolean {
  return DAMAGES.includes(toPlainError(error).code)
}

const DAMAGES: readonly ErrorCode[] = ['checksum', 'crypto', 'file-invalid', 'file-missing', 'format']

const DAMAGE_HINTS = [
  'restore the file from a snapshot or another copy of the repository, and check the storage for errors',
  'do not remove other files: backups and WAL may be intact',
]

/** @throws PgtsError format if only one of repository and info file is encrypted */
export function requireMatchingPass(repository: Repository, info: ManifestKey, what: string): void {
  if ((repository.cipher === undefined) === (info.cipherPass === undefined)) return
  const fault =
    repository.cipher === undefined
      ? 'is not encrypted, but contains a passphrase'
      : 'is encrypted, but contains no passphrase'
  throw new PgtsError('format', `${what} ${fault}, so this repository cannot be used`, {
    hints: ['check whether the file was copied from another repository'],
  })
}

/** Maximum size of a buffer to decrypt; the manifest of nine million files has about this size. */
const MOST_MANIFEST_BYTES = 2 ** 31 - 1

/** Reads an info file or a manifest, or the copy of one. @throws as getFile */
export function getInfoFile(storage: StorageDriver, name: ByteString, options: Cancellable = {}): Promise<Buffer> {
  return isManifest(name) ? getFile(storage, name, options, MOST_MANIFEST_BYTES) : getFile(storage, name, options)
}

function isManifest(name: string): boolean {
  return name.endsWith('/backup.manifest') || name.endsWith('/backup.manifest.copy')
}

/**
 * True if the copy of an info file has the same content. A run that was killed between the two writes leaves an older
 * copy, which would be used if the file became unusable. The two may be encrypted with different salts.
 */
export async function isCopyCurrent(
  repository: Repository,
  name: ByteString,
  options: LoadOptions = {},
): Promise<boolean> {
  const cipher = infoCipherOf(repository)
  const { signal } = options
  const plain = async (file: ByteString) => cipher.open(await getInfoFile(repository.storage, file, { signal }), file)
  try {
    return (await plain(name)).equals(await plain(copyName(name)))
  } catch {
    // Missing or corrupt: it must be written again. The loader reports whether the file itself is readable.
    options.signal?.throwIfAborted()
    return false
  }
}

/**
 * Writes the file, then its copy. An object store writes files atomically, with a round trip each, so there in
 * parallel.
 */
export async function saveBoth(storage: StorageDriver, name: string, bytes: Uint8Array): Promise<void> {
  await inParallel([name, copyName(name)], storage.parallel ?? 1, (file) => putFile(storage, file, bytes))
}

/**
 * Info files and manifests exist twice, as X and X.copy with the same bytes. A reader uses the copy if X is unusable; a
 * writer writes one after the other, so that one of them is always complete.
 */
export interface FileWithCopy<T> {
  readonly name: ByteString
  readonly cipher: InfoCipher
  parse(bytes: Buffer): T
  /** If both are missing. */
  readonly missingHints: readonly string[]
}

export async function loadEither<T>(
  storage: StorageDriver,
  { name, cipher, parse, missingHints }: FileWithCopy<T>,
  options: LoadOptions,
): Promise<T> {
  const what = name.slice(name.lastIndexOf('/') + 1)
  const load = async (file: ByteString): Promise<T> =>
    parse(cipher.open(await getInfoFile(storage, file, { signal: options.signal }), what))
  let mainError: unknown
  try {
    return await load(name)
  } catch (error) {
    options.signal?.throwIfAborted()
    // The copy may be older: an upgrade of the format writes it last.
    if (error instanceof OtherFormatError) throw error
    mainError = error
  }
  let copyError: unknown
  try {
    const value = await load(copyName(name))
    const reason = messageOf(mainError)
    options.log?.warn(
      { file: name },
      `${storage.display}/${bytesToText(name)} is unusable, so its copy was used: ${reason}` +
        `\nHINT: ${repairOf(what)}; check the storage for errors`,
    )
    return value
  } catch (error) {
    options.signal?.throwIfAborted()
    copyError = error
  }
  const isUnknown =
    missingHints === STANZA_HINTS && [mainError, copyError].every((error) => isPgtsError(error, 'file-missing'))
  const hints = isUnknown ? [...missingHints, ...(await otherStanzas(storage, name, options))] : missingHints
  throw neitherUsable(storage, name, mainError, copyError, hints)
}

/** @param name of an info file: `backup/STANZA/backup.info` */
async function otherStanzas(storage: StorageDriver, name: ByteString, options: LoadOptions): Promise<string[]> {
  const [top = '', stanza = asBytes('')] = name.split('/')
  const found: string[] = []
  try {
    for await (const entry of storage.list(top, { namesOnly: true, signal: options.signal }))
      if (entry.kind === 'path') found.push(bytesToText(entry.name.slice(top.length + 1)))
  } catch {
    options.signal?.throwIfAborted()
    // The missing file is the error; without the listing only a hint is lost.
    return []
  }
  if (found.length === 0 || found.includes(bytesToText(stanza))) return []
  return [`stanzas in ${storage.display}: ${found.sort().slice(0, MOST_STANZAS).join(', ')}`]
}

const MOST_STANZAS = 20

/** How a pair of files is repaired. */
function repairOf(what: string): string {
  if (what === 'backup.info') return 'the next backup, expire or stanza-create writes both again'
  if (what === 'archive.info') return 'the next backup or stanza-create writes both again'
  return `copy ${what}.copy over the unusable file`
}

function neitherUsable(
  storage: StorageDriver,
  name: string,
  mainError: unknown,
  copyError: unknown,
  missingHints: readonly string[],
): PgtsError {
  const main = toPlainError(mainError)
  const copy = toPlainError(copyError)
  const where = `${storage.display}/${name}`
  if (isPgtsError(mainError, 'file-missing') && isPgtsError(copyError, 'file-missing')) {
    return new PgtsError(
      'file-missing',
      `unable to open missing file '${where}' for read: neither it nor its copy exists`,
      {
        hints: missingHints,
        cause: mainError,
      },
    )
  }
  // Of two different failures the code of the one that is not "missing" is reported, and preferably one that is not
  // about the file itself.
  const codes = [main.code, copy.code].filter((failure) => failure !== 'file-missing')
  const code =
    codes.find((failure) => !DAMAGES.includes(failure)) ?? (new Set(codes).size === 1 ? codes[0]! : 'file-invalid')
  const findings =
    main.message === copy.message ? [main.message] : [`the file: ${main.message}`, `the copy: ${copy.message}`]
  const hints = [...new Set([...main.hints, ...copy.hints])]
  return new PgtsError(code, [`neither ${where} nor its copy can be used`, ...findings].join('\n'), {
    hints: hints.length > 0 || !DAMAGES.includes(code) ? hints : DAMAGE_HINTS,
    cause: mainError,
  })
}
