import { decrypt, encrypt, isEncrypted } from '../codec/cipher.ts'
import { isPgtsError, PgtsError } from '../util/error.ts'
import type { Repository } from './repository.ts'

/** What is needed to read and write manifests: backup.info, in an encrypted repository, has their passphrase. */
export interface ManifestKey {
  readonly cipherPass?: string
}

/** Turns the text of an info file into what is stored, and back. */
export interface InfoCipher {
  close(text: Uint8Array): Uint8Array
  /**
   * @param what the file's name, for messages
   * @throws PgtsError crypto: wrong passphrase, encrypted without a cipher, or not encrypted with one
   */
  open(stored: Buffer, what: string): Buffer
}

/** For archive.info and backup.info. */
export function infoCipherOf({ display: repo, cipher }: Repository): InfoCipher {
  if (cipher === undefined) {
    return plain(`no cipher is configured for ${repo}`, [
      `set ${repo}-cipher-type=aes-256-cbc and ${repo}-cipher-pass as where the stanza was created`,
    ])
  }
  return encrypted(cipher.passphrase(), {
    wrong: `wrong passphrase: ${cipher.origin} does not unlock`,
    wrongHints: [
      `compare ${repo}-cipher-pass with the one that the stanza was created with; without it nobody can read this repository`,
      'when the passphrase is right, the file and its copy are damaged: bring them back from another copy of the repository',
    ],
    plain: `is not encrypted, but ${repo}-cipher-type is ${cipher.type}`,
    plainHints: [
      `set ${repo}-cipher-type=none: this stanza was created without encryption`,
      'encryption cannot be added to what is there: encrypt a new repository, and take a full backup into it',
    ],
  })
}

/** For manifests. */
export function manifestCipherOf({ cipherPass }: ManifestKey): InfoCipher {
  if (cipherPass === undefined) {
    return plain('backup.info has no passphrase for it', ['was backup.info, or this backup, copied from elsewhere?'])
  }
  return encrypted(cipherPass, {
    wrong: 'the passphrase in backup.info does not unlock',
    wrongHints: ['the file is damaged, or backup.info or this backup was copied from elsewhere'],
    plain: 'is not encrypted, but the repository is',
    plainHints: ['was this backup copied from an unencrypted repository?'],
  })
}

function plain(why: string, hints: readonly string[]): InfoCipher {
  return {
    close: (text) => text,
    open(stored, what) {
      if (isEncrypted(stored)) throw new PgtsError('crypto', `${what} is encrypted, but ${why}`, { hints })
      return stored
    },
  }
}

interface Stories {
  readonly wrong: string
  readonly wrongHints: readonly string[]
  readonly plain: string
  readonly plainHints: readonly string[]
}

function encrypted(passphrase: string, stories: Stories): InfoCipher {
  return {
    close: (text) => encrypt(text, passphrase),
    open(stored, what) {
      // An empty file has a message of its own.
      if (stored.length === 0) return stored
      if (!isEncrypted(stored)) {
        throw isInfoText(stored)
          ? new PgtsError('crypto', `${what} ${stories.plain}`, { hints: stories.plainHints })
          : new PgtsError('crypto', `${what} is damaged: it does not begin as an encrypted file does`)
      }
      const wrong = (cause?: unknown) =>
        new PgtsError('crypto', `${stories.wrong} ${what}`, { hints: stories.wrongHints, cause })
      let text: Buffer
      try {
        text = decrypt(stored, passphrase)
      } catch (error) {
        throw isPgtsError(error, 'crypto') ? wrong(error) : error
      }
      // A wrong key yields a valid padding once in 256 times: noise must not get as far as a parser's message.
      if (!isInfoText(text)) throw wrong()
      return text
    },
  }
}

/** Every info file begins with a section. */
function isInfoText(bytes: Buffer): boolean {
  return /^\[[a-z:-]+\]\n/.test(bytes.toString('latin1', 0, 64))
}
