import { mkdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Daemon } from '../processes/daemon.ts'
import { freePorts } from './free-port.ts'
import { accepts } from './s3-server.ts'
import { makeCertificates } from './tls.ts'

/** A running Azurite as plain data, for other processes. */
export interface AzuriteAddress {
  readonly host: '127.0.0.1'
  /** TLS only. */
  readonly port: number
  readonly caFile: string
  readonly account: string
  /** Shared key, base64. */
  readonly key: string
  readonly dir: string
}

/** Microsoft's emulator of Azure Blob storage, with TLS; path style. It checks signatures and keeps its blobs on disk. */
export class Azurite implements AsyncDisposable {
  private constructor(
    readonly address: AzuriteAddress,
    readonly daemon: Daemon,
  ) {}

  static async start(dir: string): Promise<Azurite> {
    mkdirSync(dir, { recursive: true, mode: 0o755 })
    const { caFile, certFile, keyFile } = makeCertificates(join(dir, 'tls'))
    const [port = 0] = await freePorts(1)
    const account = 'pgts'
    const key = Buffer.from('a key for tests only').toString('base64')
    const program = createRequire(import.meta.url).resolve('azurite/dist/src/blob/main.js')
    const daemon = new Daemon(
      'azurite',
      process.execPath,
      [
        ...[program, '--silent', '--skipApiVersionCheck', '--disableTelemetry', '--location', join(dir, 'data')],
        ...['--blobHost', '127.0.0.1', '--blobPort', String(port), '--cert', certFile, '--key', keyFile],
        // Tokens are accepted, too: issuer, audience and time are checked, signatures are not.
        ...['--oauth', 'basic'],
      ],
      join(dir, 'azurite.out'),
      { ...process.env, AZURITE_ACCOUNTS: `${account}:${key}` },
    )
    try {
      await daemon.until(() => accepts(port))
    } catch (error) {
      await daemon[Symbol.asyncDispose]()
      throw error
    }
    return new Azurite({ host: '127.0.0.1', port, caFile, account, key, dir }, daemon)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]()
    if (process.env['PGTS_TEST_KEEP'] === undefined) rmSync(this.address.dir, { recursive: true, force: true })
  }
}
