import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Daemon } from '../processes/daemon.ts'
import { childrenOf } from '../processes/processes.ts'
import { cleanEnv, giveToTestUser, makeTestDir, pgtsProgram, runAs, testUser } from '../processes/test-user.ts'
import type { RunResult } from '../processes/test-user.ts'
import { freePorts } from '../stores/free-port.ts'
import { until } from '../until.ts'
import { type IssuedCertificate, TestAuthority } from './certificates.ts'

export interface TlsServerOptions {
  /** Name that the program is called by; default pgts. */
  readonly name?: 'pgts' | 'pgbackrest'
  /** More names of the certificate: `IP:10.0.0.1`. */
  readonly names?: readonly string[]
  /** Values of tls-server-auth. */
  readonly auth?: readonly string[]
  /** Lines of [global], for example of repositories. */
  readonly global?: readonly string[]
  /** Lines of the file after it: sections of stanzas. */
  readonly sections?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** `pgts server` with certificates of its own, which runs as the test user with the configuration `server.conf`. */
export class TlsServer implements AsyncDisposable {
  readonly config: string
  readonly program: string
  #daemon: Daemon | undefined

  private constructor(
    readonly dir: string,
    readonly port: number,
    readonly authority: TestAuthority,
    readonly options: TlsServerOptions,
  ) {
    this.config = join(dir, 'server.conf')
    this.program = join(dir, options.name ?? 'pgts')
    symlinkSync(pgtsProgram(), this.program)
    this.issueServer()
    this.configure()
  }

  static async start(options: TlsServerOptions = {}): Promise<TlsServer> {
    const server = await TlsServer.prepare(options)
    await server.run()
    return server
  }

  /** As `start`, but the server does not run yet. */
  static async prepare(options: TlsServerOptions = {}): Promise<TlsServer> {
    const dir = makeTestDir('tls-server')
    const [port = 0] = await freePorts(1)
    mkdirSync(join(dir, 'log'))
    giveToTestUser(dir)
    return new TlsServer(dir, port, new TestAuthority(join(dir, 'tls')), options)
  }

  /** A new certificate of the server, read at the next start or reload. */
  issueServer(changes: { readonly subject?: string; readonly days?: number } = {}): IssuedCertificate {
    const names = ['DNS:localhost', 'IP:127.0.0.1', ...(this.options.names ?? [])]
    return this.authority.issue('server', { subject: '/CN=localhost', names, ...changes })
  }

  /** Writes the configuration. @param changes lines that replace those with the same option */
  configure({ auth = this.options.auth ?? ['db1=*'], lines = [] as readonly string[] } = {}): void {
    const tls = join(this.dir, 'tls')
    const own = [
      `tls-server-port=${this.port}`,
      `tls-server-ca-file=${this.authority.caFile}`,
      `tls-server-cert-file=${tls}/server.crt`,
      `tls-server-key-file=${tls}/server.key`,
      `log-path=${this.dir}/log`,
      `lock-path=${this.dir}/lock`,
      'log-level-console=detail',
      'log-level-file=off',
      ...auth.map((value) => `tls-server-auth=${value}`),
      ...(this.options.global ?? []),
    ]
    const replaced = new Set(lines.map((line) => line.split('=')[0]))
    const kept = own.filter((line) => !replaced.has(line.split('=')[0]))
    writeFileSync(this.config, ['[global]', ...kept, ...lines, ...(this.options.sections ?? []), ''].join('\n'))
    giveToTestUser(this.config)
    chmodSync(this.config, 0o640)
  }

  async run(): Promise<void> {
    // Containers give the configuration in the environment.
    const inEnvironment = this.options.name === 'pgbackrest'
    const words = [this.program, ...(inEnvironment ? [] : [`--config=${this.config}`]), 'server']
    const env = { ...(inEnvironment ? { PGBACKREST_CONFIG: this.config } : {}), ...this.options.env }
    const [command, ...args] = testUser.switched
      ? [`--reuid=${testUser.uid}`, `--regid=${testUser.gid}`, '--clear-groups', ...words]
      : words
    const before = this.log().length
    this.#daemon = new Daemon('pgts server', command!, args, this.logFile, cleanEnv(testUser, env))
    await this.#daemon.until(() => this.log().slice(before).includes(`port ${this.port}`))
  }

  get logFile(): string {
    return join(this.dir, 'out')
  }

  /** Everything that was logged since the first start. */
  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : ''
  }

  get pid(): number {
    return this.#daemon!.pid
  }

  get running(): boolean {
    return this.#daemon!.running
  }

  /** Processes of its connections, the spare one included. */
  processes(): number[] {
    return childrenOf(this.pid)
  }

  /** Sends SIGHUP, and waits for the log line of the reload, also of a failed one. */
  async reload(): Promise<void> {
    const count = () => this.log().match(/loaded again|the configuration again/g)?.length ?? 0
    const before = count()
    this.kill('SIGHUP')
    await until('the reload', () => count() > before, { details: () => this.log() })
  }

  kill(signal: NodeJS.Signals): void {
    this.#daemon!.kill(signal)
  }

  async ended(): Promise<void> {
    await until('the end of the server', () => !this.running, { details: () => this.log() })
  }

  /** `pgts server-ping` with the configuration of the server. */
  ping(...args: string[]): Promise<RunResult> {
    const words = [`--config=${this.config}`, '--io-timeout=10', '--log-level-console=warn', 'server-ping', ...args]
    return runAs(testUser, this.program, words, { cwd: this.dir })
  }

  /** Options of a client for this server. @param option `repo1-host` or `pg1-host` */
  clientOptions(option: string, client: IssuedCertificate): Record<string, string> {
    return {
      [option]: '127.0.0.1',
      [`${option}-type`]: 'tls',
      [`${option}-port`]: String(this.port),
      [`${option}-ca-file`]: this.authority.caFile,
      [`${option}-cert-file`]: client.certFile,
      [`${option}-key-file`]: client.keyFile,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon?.[Symbol.asyncDispose]()
  }
}
