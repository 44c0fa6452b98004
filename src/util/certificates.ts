import { readdir, readFile } from 'node:fs/promises'
import { rootCertificates } from 'node:tls'
import { textPath } from './byte-string.ts'
import { PgtsError } from './error.ts'

/** Certificates that the system trusts: Debian, Red Hat, SUSE, Alpine and BSD. */
const SYSTEM_FILES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/**
 * The trusted certificates: the configured file or directory, else those that this system trusts, else those of Node.
 *
 * @param option names the file, for the hint of an error
 */
export async function trustedCertificates(
  place: { readonly caFile?: string; readonly caPath?: string },
  option = 'repo-storage-ca-file',
): Promise<{ readonly ca: string[] }> {
  const ca: string[] = []
  if (place.caFile !== undefined) ca.push(await certificateFile(place.caFile, option))
  if (place.caPath !== undefined) ca.push(...(await certificateDirectory(place.caPath)))
  if (ca.length > 0) return { ca }
  for (const path of SYSTEM_FILES) {
    const text = await readFile(textPath(path), 'latin1').catch(() => undefined)
    if (text?.includes(BEGIN)) return { ca: [text] }
  }
  return { ca: [...rootCertificates] }
}

const BEGIN = '-----BEGIN CERTIFICATE-----'

/** The text of a file with certificates in PEM format. @param option names the file, for the hint of an error */
export async function certificateFile(path: string, option: string): Promise<string> {
  const text = await readFile(textPath(path), 'latin1').catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('file-open', `cannot read the certificates in ${path}: ${why}`, {
      hints: [`set ${option} to a file that this user can read`],
      cause,
    })
  })
  if (text.includes(BEGIN)) return text
  throw new PgtsError('file-invalid', `${path} contains no certificate in PEM format`, {
    hints: [`use a file with lines ${BEGIN}`],
  })
}

async function certificateDirectory(path: string): Promise<string[]> {
  const names = await readdir(textPath(path)).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new PgtsError('path-open', `cannot list the certificates in ${path}: ${why}`, { cause })
  })
  // Links named by hash repeat certificates, and the directory may also contain keys or notes.
  const texts = await Promise.all(names.map((name) => readFile(textPath(`${path}/${name}`), 'latin1').catch(() => '')))
  const certificates = [...new Set(texts.filter((text) => text.includes(BEGIN)))]
  if (certificates.length > 0) return certificates
  throw new PgtsError('file-invalid', `no file in ${path} contains a certificate in PEM format`)
}
