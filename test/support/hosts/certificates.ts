import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { giveToTestUser } from '../processes/test-user.ts'

export interface IssuedCertificate {
  readonly certFile: string
  /** Mode 0600. */
  readonly keyFile: string
}

export interface CertificateRequest {
  /** `/CN=db1`. */
  readonly subject: string
  /** `DNS:localhost`, `IP:127.0.0.1`. */
  readonly names?: readonly string[]
  /** Negative: it has expired. */
  readonly days?: number
}

/** An authority that signs certificates of hosts, made with openssl; all files belong to the test user. */
export class TestAuthority {
  readonly caFile: string
  readonly #dir: string

  constructor(dir: string, name = 'pgts test') {
    mkdirSync(dir, { recursive: true, mode: 0o755 })
    this.#dir = dir
    this.caFile = join(dir, 'ca.crt')
    const ends = ['-keyout', 'ca.key', '-out', 'ca.crt', '-days', '3650', '-subj', `/CN=${name}`]
    this.#openssl('req', '-x509', ...NEW_KEY, ...ends)
    giveToTestUser(dir)
    giveToTestUser(this.caFile)
  }

  /** @param file begin of the file names; an existing pair is replaced */
  issue(file: string, { subject, names = [], days = 365 }: CertificateRequest): IssuedCertificate {
    const [certFile, keyFile] = [join(this.#dir, `${file}.crt`), join(this.#dir, `${file}.key`)]
    const alternatives = names.length === 0 ? '' : `subjectAltName=${names.join(',')}\n`
    writeFileSync(join(this.#dir, `${file}.ext`), `basicConstraints=CA:FALSE\n${alternatives}`)
    this.#openssl('req', ...NEW_KEY, '-keyout', keyFile, '-out', `${file}.csr`, '-subj', subject)
    const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days)]
    this.#openssl('x509', '-req', '-in', `${file}.csr`, '-out', certFile, '-extfile', `${file}.ext`, ...signed)
    chmodSync(keyFile, 0o600)
    for (const path of [certFile, keyFile]) giveToTestUser(path)
    return { certFile, keyFile }
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.#dir, stdio: ['ignore', 'ignore', 'pipe'] })
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
