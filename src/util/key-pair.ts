import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import { textPath } from './byte-string.ts'
import { certificateFile } from './certificates.ts'
import { messageOf, PgtsError } from './error.ts'

/** A certificate with its chain, and its private key, in PEM format. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Paths, and the options that name them, for hints: `tls-server-cert-file`. */
export interface KeyPairFiles {
  readonly certFile: string
  readonly keyFile: string
  readonly certOption: string
  readonly keyOption: string
}

/**
 * Reads a certificate and its key.
 *
 * @throws PgtsError file-open; file-read if other users can read the key; crypto if the two do not belong together
 */
export async function readKeyPair(files: KeyPairFiles): Promise<KeyPair> {
  const [cert, key] = await Promise.all([
    certificateFile(files.certFile, files.certOption),
    readPrivateKey(files.keyFile, files.keyOption),
  ])
  try {
    createSecureContext({ cert, key })
  } catch (cause) {
    throw new PgtsError(
      'crypto',
      `cannot use certificate ${files.certFile} with key ${files.keyFile}: ${messageOf(cause)}`,
      {
        hints: [`set ${files.certOption} and ${files.keyOption} to a certificate and its key without a passphrase`],
        cause,
      },
    )
  }
  return { cert, key }
}

/** The rule of pgBackRest: 0600 or less; of root 0640 or less. A link, as in a volume of Kubernetes, is followed. */
async function readPrivateKey(path: string, option: string): Promise<string> {
  const file = await open(textPath(path), constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw new PgtsError('file-open', `cannot read the key ${path}: ${messageOf(cause)}`, {
      hints: [`set ${option} to a file that this user can read`],
      cause,
    })
  })
  try {
    const { uid, mode } = await file.stat()
    const own = process.geteuid?.() ?? uid
    // Root works with the files of all users.
    if (own !== 0 && uid !== own && uid !== 0) {
      throw new PgtsError('file-read', `key ${path} belongs to another user`, {
        hints: ['make the user that runs pgts, or root, the owner of the file'],
      })
    }
    // Root may give the file to the group of the user that runs pgts.
    const denied = uid === 0 ? 0o037 : 0o077
    if ((mode & denied) !== 0) {
      throw new PgtsError('file-read', `key ${path} can be read or changed by other users`, {
        hints: [`run: chmod ${uid === 0 ? '0640' : '0600'} ${path}`],
      })
    }
    return await file.readFile('latin1')
  } finally {
    await file.close()
  }
}
