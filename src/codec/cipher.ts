import { createCipheriv, createDecipheriv, createHash, randomBytes, type Cipher, type Decipher } from 'node:crypto'
import type { ByteSink } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import type { Stage } from './stage.ts'

const MAGIC = Buffer.from('Salted__', 'latin1')
const SALT_BYTES = 8
const ALGORITHM = 'aes-256-cbc'
const KEY_BYTES = 32
const IV_BYTES = 16
const PASSPHRASE_BYTES = 48

/** A stage without asynchronous steps. */
export interface CipherStage extends Stage {
  push(chunk: Uint8Array): Iterable<Uint8Array>
  finish(): Iterable<Uint8Array>
}

export interface CipherOptions {
  /** Omits the magic before the salt; used in bundles and block incremental files. */
  readonly raw?: boolean
}

/**
 * Encrypts like `openssl enc -aes-256-cbc -md sha1 -salt`: `Salted__`, 8 bytes of salt, ciphertext with padding.
 * @param passphrase byte string; for a generated one the base64 characters, not the decoded bytes
 * @param salt 8 bytes; random unless set by a test
 */
export function encryptor(passphrase: string, options: CipherOptions & { salt?: Uint8Array } = {}): CipherStage {
  const salt = options.salt ?? randomBytes(SALT_BYTES)
  const { key, iv } = deriveKey(passphrase, salt)
  const cipher: Cipher = createCipheriv(ALGORITHM, key, iv)
  let header: Buffer | undefined = options.raw === true ? Buffer.from(salt) : Buffer.concat([MAGIC, salt])
  const withHeader = (bytes: Buffer): Buffer[] => {
    const chunks = header === undefined ? [bytes] : [header, bytes]
    header = undefined
    return chunks
  }
  return { push: (chunk) => withHeader(cipher.update(chunk)), finish: () => withHeader(cipher.final()) }
}

/** Reverses `encryptor`. A wrong passphrase, corrupt or truncated data throw `crypto`, from `push` or `finish`. */
export function decryptor(passphrase: string, options: CipherOptions = {}): CipherStage {
  const headerBytes = (options.raw === true ? 0 : MAGIC.length) + SALT_BYTES
  let header = Buffer.alloc(0)
  let decipher: Decipher | undefined
  return {
    push(chunk) {
      if (decipher !== undefined) return [decipher.update(chunk)]
      const missing = headerBytes - header.length
      header = Buffer.concat([header, chunk.subarray(0, missing)])
      if (header.length < headerBytes) return []
      if (options.raw !== true && !header.subarray(0, MAGIC.length).equals(MAGIC))
        throw new PgtsError('crypto', "encrypted data does not begin with 'Salted__'", {
          hints: ['check repo-cipher-type: the repository may not be encrypted'],
        })
      const { key, iv } = deriveKey(passphrase, header.subarray(-SALT_BYTES))
      decipher = createDecipheriv(ALGORITHM, key, iv)
      return [decipher.update(chunk.subarray(missing))]
    },
    finish() {
      if (decipher === undefined)
        throw new PgtsError('crypto', 'encrypted data is truncated: it has no complete header')
      try {
        return [decipher.final()]
      } catch (cause) {
        throw new PgtsError('crypto', 'cannot decrypt: the passphrase is wrong, or the data is corrupt or truncated', {
          cause,
        })
      }
    },
  }
}

/** Encrypts a small buffer in the normal form. */
export function encrypt(bytes: Uint8Array, passphrase: string): Buffer {
  return throughAll(encryptor(passphrase), bytes)
}

/** Reverses `encrypt`. @throws PgtsError crypto as `decryptor` */
export function decrypt(bytes: Uint8Array, passphrase: string): Buffer {
  return throughAll(decryptor(passphrase), bytes)
}

/** True if the bytes begin like encrypted data in the normal form. */
export function isEncrypted(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length))
}

/** A sink that encrypts its bytes; for one of several sinks of the same bytes. `finish` writes the end. */
export function encryptingSink(sink: ByteSink, passphrase: string): ByteSink & { finish(): void | Promise<void> } {
  const stage = encryptor(passphrase)
  const writeAll = (chunks: Iterable<Uint8Array>): void | Promise<void> => {
    const bytes = Buffer.concat([...chunks])
    if (bytes.length > 0) return sink.write(bytes)
  }
  return { write: (chunk) => writeAll(stage.push(chunk)), finish: () => writeAll(stage.finish()) }
}

/** A new passphrase for the next level: 48 random bytes as 64 base64 characters. */
export function newPassphrase(): string {
  return randomBytes(PASSPHRASE_BYTES).toString('base64')
}

function throughAll(stage: CipherStage, bytes: Uint8Array): Buffer {
  return Buffer.concat([...stage.push(bytes), ...stage.finish()])
}

/**
 * OpenSSL's EVP_BytesToKey with SHA-1 and one iteration: D1 = SHA1(pass salt), Di = SHA1(D(i-1) pass salt); the first
 * 32 bytes are the key, the next 16 the initialisation vector.
 */
export function deriveKey(passphrase: string, salt: Uint8Array): { key: Buffer; iv: Buffer } {
  let derived = Buffer.alloc(0)
  let last = Buffer.alloc(0)
  while (derived.length < KEY_BYTES + IV_BYTES) {
    last = createHash('sha1').update(last).update(passphrase, 'latin1').update(salt).digest()
    derived = Buffer.concat([derived, last])
  }
  return { key: derived.subarray(0, KEY_BYTES), iv: derived.subarray(KEY_BYTES, KEY_BYTES + IV_BYTES) }
}
