import { createCipheriv, createDecipheriv, hash, randomBytes, type Cipher, type Decipher } from 'node:crypto'
import type { ByteSink } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { freeMemory } from '../util/free-memory.ts'
import type { Stage } from './stage.ts'

const MAGIC = Buffer.from('Salted__', 'latin1')
const SALT_BYTES = 8
const ALGORITHM = 'aes-256-cbc'
const KEY_BYTES = 32
const IV_BYTES = 16
const PASSPHRASE_BYTES = 48
/** Magic, salt and padding. */
const MOST_ADDED_BYTES = 32

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
  /** The header, and ciphertext as long as it is short: a small file is returned in one piece. */
  let held = options.raw === true ? Buffer.from(salt) : Buffer.concat([MAGIC, salt])
  return {
    *push(chunk) {
      for (const bytes of updates(cipher, chunk)) {
        if (held.length > 0) {
          if (held.length + bytes.length <= HELD_BYTES) {
            held = Buffer.concat([held, bytes])
            continue
          }
          yield held
          held = NOTHING
        }
        yield bytes
      }
    },
    *finish() {
      yield held.length === 0 ? cipher.final() : Buffer.concat([held, cipher.final()])
    },
  }
}

/** Reverses `encryptor`. A wrong passphrase, corrupt or truncated data throw `crypto`, from `push` or `finish`. */
export function decryptor(passphrase: string, options: CipherOptions = {}): CipherStage {
  const headerBytes = (options.raw === true ? 0 : MAGIC.length) + SALT_BYTES
  let header = NOTHING
  let decipher: Decipher | undefined
  return {
    *push(chunk) {
      let rest = chunk
      if (decipher === undefined) {
        const missing = headerBytes - header.length
        header = Buffer.concat([header, chunk.subarray(0, missing)])
        if (header.length < headerBytes) return
        if (options.raw !== true && !header.subarray(0, MAGIC.length).equals(MAGIC))
          throw new PgtsError('crypto', "encrypted data does not begin with 'Salted__'", {
            hints: ['check repo-cipher-type: the repository may not be encrypted'],
          })
        const { key, iv } = deriveKey(passphrase, header.subarray(-SALT_BYTES))
        decipher = createDecipheriv(ALGORITHM, key, iv)
        rest = chunk.subarray(missing)
      }
      yield* updates(decipher, rest)
    },
    *finish() {
      if (decipher === undefined)
        throw new PgtsError('crypto', 'encrypted data is truncated: it has no complete header')
      let last: Buffer
      try {
        last = decipher.final()
      } catch (cause) {
        throw new PgtsError('crypto', 'cannot decrypt: the passphrase is wrong, or the data is corrupt or truncated', {
          cause,
        })
      }
      yield last
    },
  }
}

const NOTHING = Buffer.alloc(0)
const HELD_BYTES = 32 * 1024
/** In pieces of this size the memory of one call is reused by the next, and stays in the cache of the processor. */
const PIECE_BYTES = 64 * 1024
/** Freeing a smaller result costs more than it saves. */
const FREED_BYTES = 4 * 1024

/**
 * The results of node:crypto are new buffers, and it allocates twice for each: unless they are freed at once, this takes
 * longer than AES.
 */
function* updates(cipher: Cipher | Decipher, chunk: Uint8Array): Iterable<Buffer> {
  for (let start = 0; start < chunk.length; start += PIECE_BYTES) {
    const bytes = cipher.update(chunk.subarray(start, start + PIECE_BYTES))
    if (bytes.length === 0) continue
    yield bytes
    if (bytes.length >= FREED_BYTES) freeMemory(bytes)
  }
}

/** Encrypts a small buffer. */
export function encrypt(bytes: Uint8Array, passphrase: string): Buffer {
  return throughAll(encryptor(passphrase), bytes)
}

/** Reverses `encrypt`. @throws PgtsError crypto as `decryptor` */
export function decrypt(bytes: Uint8Array, passphrase: string, options: CipherOptions = {}): Buffer {
  return throughAll(decryptor(passphrase, options), bytes)
}

/** True if the bytes begin like encrypted data in the normal form. */
export function isEncrypted(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length))
}

/** A sink that encrypts its bytes; for one of several sinks of the same bytes. `finish` writes the end. */
export function encryptingSink(sink: ByteSink, passphrase: string): ByteSink & { finish(): void | Promise<void> } {
  const stage = encryptor(passphrase)
  const writeAll = (chunks: Iterator<Uint8Array>): void | Promise<void> => {
    for (let step = chunks.next(); step.done !== true; step = chunks.next()) {
      const waiting = sink.write(step.value)
      if (waiting !== undefined) return waiting.then(() => writeAll(chunks))
    }
  }
  return {
    write: (chunk) => writeAll(stage.push(chunk)[Symbol.iterator]()),
    finish: () => writeAll(stage.finish()[Symbol.iterator]()),
  }
}

/** A new passphrase for the next level: 48 random bytes as 64 base64 characters. */
export function newPassphrase(): string {
  return randomBytes(PASSPHRASE_BYTES).toString('base64')
}

function throughAll(stage: CipherStage, bytes: Uint8Array): Buffer {
  const result = Buffer.allocUnsafeSlow(bytes.length + MOST_ADDED_BYTES)
  let length = 0
  const add = (chunks: Iterable<Uint8Array>): void => {
    for (const chunk of chunks) {
      result.set(chunk, length)
      length += chunk.length
    }
  }
  add(stage.push(bytes))
  add(stage.finish())
  return result.subarray(0, length)
}

/**
 * OpenSSL's EVP_BytesToKey with SHA-1 and one iteration: D1 = SHA1(pass salt), Di = SHA1(D(i-1) pass salt); the first
 * 32 bytes are the key, the next 16 the initialisation vector.
 */
export function deriveKey(passphrase: string, salt: Uint8Array): { key: Buffer; iv: Buffer } {
  const secret = Buffer.concat([Buffer.from(passphrase, 'latin1'), salt])
  const first = hash('sha1', secret, 'buffer')
  const second = hash('sha1', Buffer.concat([first, secret]), 'buffer')
  const third = hash('sha1', Buffer.concat([second, secret]), 'buffer')
  const derived = Buffer.concat([first, second, third])
  return { key: derived.subarray(0, KEY_BYTES), iv: derived.subarray(KEY_BYTES, KEY_BYTES + IV_BYTES) }
}
