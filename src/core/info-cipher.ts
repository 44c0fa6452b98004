import { decrypt, encrypt, isEncrypted } from '../codec/cipher.ts'
import { OtherFormatError } from '../format/info-file.ts'
import { isPgtsError, PgtsError } from '../util/error.ts'
import type { Repository } from './repository.ts'

/** Needed to read and write manifests: backup.info of an encrypted repository contains their passphrase. */
export interface ManifestKey {
  readonly cipherPass?: string
}

/** Encrypts and decrypts the text of an info file. */
export interface InfoCipher {
  close(text: Uint8Array): Uint8Array
  /**
   * @param what name of the file, for messages
   * @throws PgtsError crypto: wrong passphrase, encrypted without a configured cipher, or not encrypted with one
   */
  open(stored: Buffer, what: string): Buffer
}

/** For archive.info and backup.info. */
export function infoCipherOf({ display: repo, cipher }: Repository): InfoCipher {
  if (cipher === undefined) {
    return plain(`no cipher is configured for ${repo}`, [
      `set ${repo}-cipher-type=aes-256-cbc and ${repo}-cipher-pass to the values with which the stanza was created`,
    ])
  }
  return encrypted(cipher.passphrase(), {
    wrong: `wrong passphrase: ${cipher.origin} does not decrypt`,
    wrongHints: [
      `compare ${repo}-cipher-pass with the passphrase that the stanza was created with; without it this repository cannot be read`,
      'if the passphrase is correct, the file and its copy are corrupt: restore them from another copy of the repository',
    ],
    plain: `is not encrypted, but ${repo}-cipher-type is ${cipher.type}`,
    plainHints: [
      `set ${repo}-cipher-type=none: this stanza was created without encryption`,
      'encryption cannot be added to an existing repository: create a new one, and take a full backup',
    ],
  })
}

/** For manifests. */
export function manifestCipherOf({ cipherPass }: ManifestKey): InfoCipher {
  if (cipherPass === undefined) {
    return plain('backup.info has no passphrase for it', [
      'check whether backup.info or this backup was copied from another repository',
    ])
  }
  return encrypted(cipherPass, {
    wrong: 'the passphrase in backup.info does not decrypt',
    wrongHints: ['the file is corrupt, or backup.info or this backup was copied from another repository'],
    plain: 'is not encrypted, but the repository is',
    plainHints: ['check whether this backup was copied from an unencrypted repository'],
  })
}

function plain(why: string, hints: readonly string[]): InfoCipher {
  return {
    close: (text) => text,
    open(stored, what) {
      refuseOtherHeader(stored, what)
      if (isEncrypted(stored)) throw new PgtsError('crypto', `${what} is encrypted, but ${why}`, { hints })
      return stored
    },
  }
}

interface CipherTexts {
  readonly wrong: string
  readonly wrongHints: readonly string[]
  readonly plain: string
  readonly plainHints: readonly string[]
}

function encrypted(passphrase: string, texts: CipherTexts): InfoCipher {
  return {
    close: (text) => encrypt(text, passphrase),
    open(stored, what) {
      // The parser reports an empty file.
      if (stored.length === 0) return stored
      refuseOtherHeader(stored, what)
      if (!isEncrypted(stored)) {
        throw isInfoText(stored)
          ? new PgtsError('crypto', `${what} ${texts.plain}`, { hints: texts.plainHints })
          : new PgtsError('crypto', `${what} is corrupt: it does not begin like an encrypted file`)
      }
      const wrong = (cause?: unknown) =>
        new PgtsError('crypto', `${texts.wrong} ${what}`, { hints: texts.wrongHints, cause })
      let text: Buffer
      try {
        text = decrypt(stored, passphrase)
      } catch (error) {
        throw isPgtsError(error, 'crypto') ? wrong(error) : error
      }
      // A wrong key yields valid padding once in 256 cases: the parser must not report the random bytes.
      if (!isInfoText(text)) throw wrong()
      return text
    },
  }
}

/** Since format 6 an encrypted info file begins with `PGBR` and the number of its format, in three digits. */
function refuseOtherHeader(stored: Buffer, what: string): void {
  const [, format] = /^PGBR(\d{3})_/.exec(stored.toString('latin1', 0, 8)) ?? []
  if (format !== undefined) throw new OtherFormatError(what, String(Number(format)))
}

/** Every info file begins with a section. */
function isInfoText(bytes: Buffer): boolean {
  return /^\[[a-z:-]+\]\n/.test(bytes.toString('latin1', 0, 64))
}
