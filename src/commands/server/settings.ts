import { X509Certificate } from 'node:crypto'
import type { OptionsOf } from '../../config/resolve.ts'
import { parseRights } from '../../core/serve/rights.ts'
import { trustedCertificates } from '../../util/certificates.ts'
import { readKeyPair } from '../../util/key-pair.ts'
import type { Logger } from '../../util/log.ts'
import type { ServerSettings } from './messages.ts'

/**
 * Reads the files that the options name. A certificate that has expired is a warning: clients report the error.
 *
 * @throws PgtsError for a file or value that is not usable
 */
export async function loadSettings(
  options: OptionsOf<'server'>,
  configArguments: readonly string[],
  { log, nowMs }: { readonly log: Logger; readonly nowMs: number },
): Promise<ServerSettings> {
  const { tlsServerAuth, tlsServerCaFile, tlsServerCertFile, tlsServerKeyFile } = options
  const rights = parseRights(tlsServerAuth)
  const [{ ca }, { cert, key }] = await Promise.all([
    trustedCertificates({ caFile: tlsServerCaFile }, 'tls-server-ca-file'),
    readKeyPair({
      certFile: tlsServerCertFile,
      keyFile: tlsServerKeyFile,
      certOption: 'tls-server-cert-file',
      keyOption: 'tls-server-key-file',
    }),
  ])
  const { validTo } = new X509Certificate(cert)
  if (Date.parse(validTo) < nowMs) {
    log.warn(`the certificate ${tlsServerCertFile} has expired at ${validTo}: clients do not accept it`)
  }
  const { ioTimeout: ioTimeoutMs, protocolTimeout: protocolTimeoutMs } = options
  return { certificates: { ca, cert, key }, rights, ioTimeoutMs, protocolTimeoutMs, configArguments }
}
