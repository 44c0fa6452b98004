import { readdir, readFile } from 'node:fs/promises'
import { rootCertificates, type SecureContextOptions } from 'node:tls'
import { textPath } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

/** Where systems keep the certificates that everybody on them trusts: Debian, Red Hat, SUSE, Alpine and BSD. */
const SYSTEM_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/**
 * The certificates that a store's own may be signed with: the file or directory that was configured, else what this
 * system trusts, as other programs on it do, else those that come with Node.
 */
export async function trustedCertificates(place: { caFile?: string; caPath?: string }): Promise<SecureContextOptions> {
  const ca: (string | Buffer)[] = []
  if (place.caFile !== undefined) ca.push(await certificateFile(place.caFile))
  if (place.caPath !== undefined) ca.push(...(await certificateDirectory(place.caPath)))
  if (ca.length > 0) return { ca }
  for (const path of SYSTEM_FILES) {
    const text = await readFile(textPath(path), 'latin1').catch(() => undefined)
    if (text?.includes(BEGIN)) return { ca: [text] }
  }
  return { ca: [...rootCertificates] }
}

const BEGIN = '-----BEGIN CERTIFICATE-----'

async function certificateFile(path: string): Promise<string> {
  const text = await readFile(textPath(path), 'latin1').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('file-open', `cannot read the certificates in ${path}: ${why}`, {
      hints: ['repo-storage-ca-file names a file that this user can read'],
      cause,
    })
  })
  if (text.includes(BEGIN)) return text
  throw new PgtsError('file-invalid', `${path} holds no certificate in PEM format`, {
    hints: [`such a file has lines that say ${BEGIN}`],
  })
}

async function certificateDirectory(path: string): Promise<string[]> {
  const names = await readdir(textPath(path)).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('path-open', `cannot list the certificates in ${path}: ${why}`, { cause })
  })
  // Links by hash name the same certificates again, and keys or notes may lie beside them.
  const texts = await Promise.all(names.map((name) => readFile(textPath(`${path}/${name}`), 'latin1').catch(() => '')))
  const certificates = [...new Set(texts.filter((text) => text.includes(BEGIN)))]
  if (certificates.length > 0) return certificates
  throw new PgtsError('file-invalid', `no file in ${path} holds a certificate in PEM format`)
}
