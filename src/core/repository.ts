import type { Connection } from '../remote/connection.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { StorageDescription } from '../storage/description.ts'
import type { SharedStorage } from '../storage/port/shared.ts'
import { repoId } from '../util/repo-id.ts'

/** An open repository: one value for every command, job and message. */
export interface Repository {
  /** repo1 is 1. */
  readonly key: number
  /** For messages, and the prefix of its options: `repo1`. */
  readonly display: string
  readonly storage: StorageDriver
  /** Present if a process on another host has the repository open. */
  readonly host?: { readonly name: string; readonly connection: Connection } | undefined
  /**
   * Absent: the repository is not encrypted. The passphrase decrypts archive.info and backup.info, which contain the
   * passphrases of all other files. A function returns it, so that logging this value cannot reveal it.
   */
  readonly cipher?:
    | {
        readonly type: 'aes-256-cbc'
        /** For messages: `repo1-cipher-pass (from PGTS_REPO1_CIPHER_PASS)`. */
        readonly origin: string
        /** Byte string. */
        passphrase(): string
      }
    | undefined
}

/** A repository as plain data, from which each thread opens its own. Contains secrets: never log it. */
export interface RepositoryDescription {
  readonly key: number
  readonly storage: StorageDescription
  /** The main thread has the storage open and serves it to workers through a port. */
  readonly shared?: SharedStorage | undefined
  readonly cipher?: { readonly type: 'aes-256-cbc'; readonly origin: string; readonly passphrase: string } | undefined
}

/** @param storage the open storage of the description */
export function repositoryOf(
  { key, cipher }: Pick<RepositoryDescription, 'key' | 'cipher'>,
  storage: StorageDriver,
  host?: Repository['host'],
): Repository {
  const display = repoId(key)
  if (cipher === undefined) return { key, display, storage, host }
  const { type, origin, passphrase } = cipher
  return { key, display, storage, host, cipher: { type, origin, passphrase: () => passphrase } }
}

/**
 * The description from which a worker opens a repository that is open here.
 *
 * @param description without the passphrase if that came from another host
 */
export function describeOpen(
  description: RepositoryDescription,
  { cipher, storage: { display, parallel, reading } }: Repository,
): RepositoryDescription {
  const shared = parallel === undefined ? undefined : { display, parallel, reading }
  if (cipher === undefined) return { ...description, shared }
  const { type, origin, passphrase } = cipher
  return { ...description, shared, cipher: { type, origin, passphrase: passphrase() } }
}
