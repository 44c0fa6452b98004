import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { parseArchiveInfo, serialiseArchiveInfo, type ArchiveInfo } from '../format/archive-info.ts'
import { parseBackupInfo, serialiseBackupInfo, type BackupInfo } from '../format/backup-info.ts'
import { checkManifest } from '../format/manifest-check.ts'
import { parseManifest } from '../format/manifest-parse.ts'
import { serialiseManifest } from '../format/manifest-serialise.ts'
import { type Manifest } from '../format/manifest.ts'
import { archiveInfoName, backupInfoName, copyName, manifestHistoryName, manifestName } from '../format/repo-path.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { getFile, putFile } from '../storage/whole-file.ts'
import { bytesToText } from '../util/byte-string.ts'
import { isPgtsError, PgtsError, toPlainError, type ErrorCode } from '../util/error.ts'
import type { Logger } from '../util/log.ts'
import { inParallel } from '../util/parallel.ts'
import { writerVersion } from '../util/version.ts'
import { manifestCipherOf, infoCipherOf, type InfoCipher, type ManifestKey } from './info-cipher.ts'
import { STANZA_HINTS } from './info-missing.ts'
import type { Repository } from './repository.ts'

export type { ManifestKey } from './info-cipher.ts'

/**
 * The info files and manifests of a repository, encrypted where it is. Each exists twice, as X and X.copy with the same
 * bytes: a reader takes the copy when anything is wrong with X, a writer never has both open at once, so one of them is
 * always whole.
 */
export interface LoadOptions {
  readonly signal?: AbortSignal
  /** Told when the copy had to stand in for a broken file. */
  readonly log?: Logger
}

/** Does this error tell of the file itself? A store that cannot be reached has damaged nothing. */
export function isDamage(error: unknown): boolean {
  return DAMAGES.includes(toPlainError(error).code)
}

const DAMAGES: readonly ErrorCode[] = ['checksum', 'crypto', 'file-invalid', 'file-missing', 'format']

const DAMAGE_HINTS = [
  'bring the file back from a snapshot or another copy of the repository, and find out what damaged both',
  'remove nothing that is beside it: backups and WAL may be whole',
]

/**
 * @throws PgtsError file-missing when neither the file nor its copy exists; crypto when the passphrase, or having one,
 *   does not fit the repository; the code of the failure when both are unusable in one way, file-invalid when in two
 */
export async function loadArchiveInfo(
  repository: Repository,
  stanza: string,
  options: LoadOptions = {},
): Promise<ArchiveInfo> {
  const name = archiveInfoName(stanza)
  const info = await loadEither(
    repository.storage,
    name,
    infoCipherOf(repository),
    parseOrRecall,
    STANZA_HINTS,
    options,
  )
  requireMatchingPass(repository, info, 'archive.info')
  return info
}

/** The last few that were parsed. It is read for every segment that is pushed, and changes once in years. */
const recalled: { readonly bytes: Buffer; readonly info: ArchiveInfo }[] = []
const MOST_RECALLED = 4

function parseOrRecall(bytes: Buffer): ArchiveInfo {
  const known = recalled.find((one) => one.bytes.equals(bytes))
  if (known !== undefined) return known.info
  const info = parseArchiveInfo(bytes)
  recalled.unshift({ bytes: Buffer.from(bytes), info })
  recalled.splice(MOST_RECALLED)
  return info
}

/** @throws PgtsError as loadArchiveInfo */
export async function loadBackupInfo(
  repository: Repository,
  stanza: string,
  options: LoadOptions = {},
): Promise<BackupInfo> {
  const name = backupInfoName(stanza)
  const info = await loadEither(
    repository.storage,
    name,
    infoCipherOf(repository),
    parseBackupInfo,
    STANZA_HINTS,
    options,
  )
  requireMatchingPass(repository, info, 'backup.info')
  return info
}

/** Write archive.info, then its copy; `backrest-version` becomes ours. */
export async function saveArchiveInfo(repository: Repository, stanza: string, info: ArchiveInfo): Promise<void> {
  requireMatchingPass(repository, info, 'archive.info')
  const bytes = infoCipherOf(repository).close(serialiseArchiveInfo(info, writerVersion))
  await saveBoth(repository.storage, archiveInfoName(stanza), bytes)
}

/** Write backup.info, then its copy; `backrest-version` becomes ours. */
export async function saveBackupInfo(repository: Repository, stanza: string, info: BackupInfo): Promise<void> {
  requireMatchingPass(repository, info, 'backup.info')
  const bytes = infoCipherOf(repository).close(serialiseBackupInfo(info, writerVersion))
  await saveBoth(repository.storage, backupInfoName(stanza), bytes)
}

/**
 * The manifest of a finished backup; with `partial` the manifest of an unfinished one, of which only the copy counts.
 *
 * @throws PgtsError as loadArchiveInfo; file-invalid for the manifest of another label, or an unfinished one; format for
 *   one that is not coherent, see checkManifest
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
      throw new PgtsError('file-invalid', `the manifest in ${label} says it is of backup ${manifest.label}`, {
        hints: ['was a backup directory copied or renamed by hand?'],
      })
    }
    if (manifest.db.historyId === 0 && options.partial !== true) {
      throw new PgtsError('file-invalid', `backup ${label} was never finished, so it cannot be used`)
    }
    if (options.partial !== true) checkManifest(manifest, label)
    return manifest
  }
  if (options.partial === true) {
    const stored = await getFile(storage, copyName(name), { signal: options.signal })
    return parse(cipher.open(stored, `the manifest of ${label}`))
  }
  const hints = ['see the info command for the backups that can be used; the next backup or expire drops this one']
  return loadEither(storage, name, cipher, parse, hints, options)
}

/** Only `backup.manifest.copy`: what an unfinished backup leaves, so that no command takes it for a usable one. */
export function saveManifestCopy(
  storage: StorageDriver,
  stanza: string,
  manifest: Manifest,
  key: ManifestKey,
): Promise<void> {
  const bytes = manifestCipher(manifest, key).close(serialiseManifest(manifest))
  return putFile(storage, copyName(manifestName(stanza, manifest.label)), bytes)
}

/**
 * The copy first, then `backup.manifest`, whose appearance is the moment from which the backup exists.
 *
 * @param text the manifest, serialised
 */
export async function saveManifest(
  storage: StorageDriver,
  stanza: string,
  manifest: Manifest,
  key: ManifestKey,
  text: Buffer = serialiseManifest(manifest),
): Promise<void> {
  const name = manifestName(stanza, manifest.label)
  const bytes = manifestCipher(manifest, key).close(text)
  await putFile(storage, copyName(name), bytes)
  await putFile(storage, name, bytes)
}

/** A manifest as `backup.history` keeps it; compressed on the thread pool. */
export function compressManifest(text: Buffer): Promise<Buffer> {
  return promisify(gzip)(text, { level: 9 })
}

/**
 * The compressed manifest in `backup.history`, which outlives the backup.
 *
 * @param compressing by `compressManifest`
 */
export async function saveManifestHistory(
  storage: StorageDriver,
  stanza: string,
  manifest: Manifest,
  key: ManifestKey,
  compressing: Promise<Buffer> = compressManifest(serialiseManifest(manifest)),
): Promise<void> {
  const cipher = manifestCipher(manifest, key)
  await putFile(storage, manifestHistoryName(stanza, manifest.label), cipher.close(await compressing))
}

/** An encrypted repository has a passphrase on every level, another has none on any. */
function manifestCipher(manifest: Manifest, key: ManifestKey): InfoCipher {
  if ((manifest.cipherPass === undefined) !== (key.cipherPass === undefined))
    throw new PgtsError('assert', `the manifest of ${manifest.label} and backup.info differ about encryption`)
  return manifestCipherOf(key)
}

function requireMatchingPass(repository: Repository, info: ManifestKey, what: string): void {
  if ((repository.cipher === undefined) === (info.cipherPass === undefined)) return
  const story = repository.cipher === undefined ? 'is not encrypted, but has a passphrase' : 'has no passphrase'
  throw new PgtsError('format', `${what} ${story} for what it leads to, so this repository cannot be used`, {
    hints: ['was the file written by hand, or copied from another repository?'],
  })
}

/**
 * Does the copy of an info file say what the file says? A run that was killed between the two leaves an older copy, which
 * would be believed as soon as something happens to the file. Each may be encrypted with a salt of its own.
 */
export async function isCopyCurrent(repository: Repository, name: string, options: LoadOptions = {}): Promise<boolean> {
  const seal = infoCipherOf(repository)
  const { signal } = options
  const plain = async (file: string) => seal.open(await getFile(repository.storage, file, { signal }), file)
  try {
    return (await plain(name)).equals(await plain(copyName(name)))
  } catch {
    // Missing or damaged: to be written again. That the file itself can be read is for its loader to say.
    options.signal?.throwIfAborted()
    return false
  }
}

/** The file, then its copy. Where each is there whole or not at all and takes a round trip, both at once. */
async function saveBoth(storage: StorageDriver, name: string, bytes: Uint8Array): Promise<void> {
  await inParallel([name, copyName(name)], storage.parallel ?? 1, (file) => putFile(storage, file, bytes))
}

async function loadEither<T>(
  storage: StorageDriver,
  name: string,
  cipher: InfoCipher,
  parse: (bytes: Buffer) => T,
  missingHints: readonly string[],
  options: LoadOptions,
): Promise<T> {
  const what = name.slice(name.lastIndexOf('/') + 1)
  const load = async (file: string): Promise<T> =>
    parse(cipher.open(await getFile(storage, file, { signal: options.signal }), what))
  let mainError: unknown
  try {
    return await load(name)
  } catch (error) {
    options.signal?.throwIfAborted()
    mainError = error
  }
  let copyError: unknown
  try {
    const value = await load(copyName(name))
    const reason = toPlainError(mainError).message
    options.log?.warn(
      { file: name },
      `${storage.display}/${name} is unusable, so its copy was read instead: ${reason}` +
        `\nHINT: ${mendedBy(what)}; find out what damaged the file`,
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
async function otherStanzas(storage: StorageDriver, name: string, options: LoadOptions): Promise<string[]> {
  const [top = '', stanza = ''] = name.split('/')
  const found: string[] = []
  try {
    for await (const entry of storage.list(top, { namesOnly: true, signal: options.signal }))
      if (entry.kind === 'path') found.push(bytesToText(entry.name.slice(top.length + 1)))
  } catch {
    options.signal?.throwIfAborted()
    // The missing file is the error; a listing that fails only takes away a hint.
    return []
  }
  if (found.length === 0 || found.includes(bytesToText(stanza))) return []
  return [`stanzas in ${storage.display}: ${found.sort().slice(0, MOST_STANZAS).join(', ')}`]
}

const MOST_STANZAS = 20

/** What makes a pair of files whole again. */
function mendedBy(what: string): string {
  if (what === 'backup.info') return 'the next backup, expire or stanza-create writes both again'
  if (what === 'archive.info') return 'the next backup or stanza-create writes both again'
  return `${what}.copy beside it has the same bytes, so copy it over the damaged one`
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
  // Of two different failures the one that is not "missing" tells more, and a store that fails is no damage.
  const codes = [main.code, copy.code].filter((failure) => failure !== 'file-missing')
  const code =
    codes.find((failure) => !DAMAGES.includes(failure)) ?? (new Set(codes).size === 1 ? codes[0]! : 'file-invalid')
  const story =
    main.message === copy.message ? [main.message] : [`the file: ${main.message}`, `the copy: ${copy.message}`]
  const hints = [...new Set([...main.hints, ...copy.hints])]
  return new PgtsError(code, [`neither ${where} nor its copy can be used`, ...story].join('\n'), {
    hints: hints.length > 0 || !DAMAGES.includes(code) ? hints : DAMAGE_HINTS,
    cause: mainError,
  })
}
