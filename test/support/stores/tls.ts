import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Files in PEM form, readable by all users: nothing here is secret. */
export interface TestCertificates {
  /** The authority that a client trusts. */
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** Names in the certificate, beside 127.0.0.1 and ::1. Those under `localhost` resolve to this machine. */
const HOST_NAMES = ['localhost', '*.localhost']

/** An authority of its own, and a server's certificate signed by it. @param days until they end */
export function makeCertificates(dir: string, { days = 3650, authorityDays = 3650 } = {}): TestCertificates {
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  const file = (name: string) => join(dir, name)
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl(
    ...[
      'req',
      '-x509',
      ...newKey,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      String(authorityDays),
      '-subj',
      '/CN=pgts test',
    ],
  )
  openssl(...['req', ...newKey, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=127.0.0.1'])
  // pgbackrest compares the host only with names, also when it is an address.
  const names = ['IP:127.0.0.1', 'DNS:127.0.0.1', 'IP:::1', ...HOST_NAMES.map((name) => `DNS:${name}`)]
  writeFileSync(
    file('extensions'),
    `subjectAltName=${names.join(',')}\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n`,
  )
  const signed = [
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    String(days),
    '-extfile',
    'extensions',
  ]
  openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.crt', ...signed)
  for (const name of ['ca.crt', 'server.crt', 'server.key']) chmodSync(file(name), 0o644)
  return { caFile: file('ca.crt'), certFile: file('server.crt'), keyFile: file('server.key') }
}
