import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { descendantsOf, signal } from '../processes/processes.ts'
import { atEnd, type TestUser } from '../processes/test-user.ts'
import { until } from '../until.ts'
import { freePorts } from '../stores/free-port.ts'
import { allowLogin, makePrivilegeSeparationDirectory } from './os-users.ts'

export interface SshAccount {
  readonly user: TestUser
  /** Environment of its sessions. */
  readonly env: Readonly<Record<string, string>>
  /** Lines of its authorized_keys. */
  readonly authorizedKeys: readonly string[]
}

/** A real sshd on a port of its own, with its own keys; it needs root. */
export class Sshd implements AsyncDisposable {
  #process: ChildProcess | undefined

  private constructor(
    readonly dir: string,
    readonly port: number,
    readonly address: string,
  ) {}

  /** @param dir readable for all accounts */
  static async start(dir: string, accounts: readonly SshAccount[], address = '127.0.0.1'): Promise<Sshd> {
    makePrivilegeSeparationDirectory()
    const [port] = await freePorts(1)
    const sshd = new Sshd(dir, port!, address)
    mkdirSync(join(dir, 'authorized'))
    makeKey(join(dir, 'host_key'))
    for (const { user, authorizedKeys } of accounts) {
      allowLogin(user.name)
      writeFileSync(join(dir, 'authorized', user.name), authorizedKeys.map((line) => `${line}\n`).join(''))
    }
    writeFileSync(join(dir, 'sshd_config'), sshd.#config(accounts))
    await sshd.start()
    return sshd
  }

  /** One line for known_hosts. */
  get hostKey(): string {
    return readFileSync(join(this.dir, 'host_key.pub'), 'utf8').trim()
  }

  get pid(): number {
    return this.#process!.pid!
  }

  async start(): Promise<void> {
    const log = join(this.dir, 'sshd.log')
    // It ends with this process, however that ends.
    const sshd = ['--pdeathsig', 'KILL', '/usr/sbin/sshd', '-D', '-f', join(this.dir, 'sshd_config'), '-E', log]
    const child = spawn('setpriv', sshd, { stdio: 'ignore' })
    this.#process = child
    atEnd(() => this.kill())
    await until('sshd', async () => {
      if (child.exitCode !== null) throw new Error(`sshd has ended:\n${readFileSync(log, 'utf8')}`)
      return accepts(this.port, this.address)
    })
  }

  /** SIGKILL for sshd and all sessions, as if the host had failed; programs that sessions have started get no signal. */
  kill(): void {
    const child = this.#process
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const sessions = descendantsOf(child.pid).filter(({ args }) => /^sshd/.test(args[0] ?? ''))
    for (const { pid } of [{ pid: child.pid }, ...sessions]) signal(pid, 'SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    this.kill()
    await ended
  }

  #config(accounts: readonly SshAccount[]): string {
    const matches = accounts.map(
      ({ user, env }) =>
        `Match User ${user.name}\n  SetEnv ${Object.entries(env)
          .map(([name, value]) => `"${name}=${value}"`)
          .join(' ')}\n`,
    )
    return `Port ${this.port}
ListenAddress ${this.address}
HostKey ${this.dir}/host_key
AuthorizedKeysFile ${this.dir}/authorized/%u
StrictModes no
PidFile none
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
MaxStartups 100
LogLevel VERBOSE
${matches.join('')}`
  }
}

/** A key pair without a passphrase. @returns the public key */
export function makeKey(path: string, owner?: TestUser): string {
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path])
  chmodSync(path, 0o600)
  if (owner !== undefined) chownSync(path, owner.uid, owner.gid)
  return readFileSync(`${path}.pub`, 'utf8').trim()
}

function accepts(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
