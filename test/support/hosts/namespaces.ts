import { execFileSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { nativeFunction } from '../../../src/util/native.ts'
import { atEnd } from '../processes/test-user.ts'

const setns = nativeFunction('int setns(int fd, int nstype)')

/** A network namespace with an address of its own: only its own processes reach its loopback. */
export class Namespace {
  readonly #fd: number

  constructor(
    readonly name: string,
    readonly address: string,
  ) {
    this.#fd = openSync(`/run/netns/${name}`, 'r')
    atEnd(() => closeSync(this.#fd))
  }

  /** Processes and sockets that `work` opens before it returns are in this namespace. */
  run<T>(work: () => T): T {
    const leave = this.#enter()
    try {
      return work()
    } finally {
      leave()
    }
  }

  /** As `run`, until the promise is settled: also what other work of this thread opens in this time. */
  async inside<T>(work: () => Promise<T>): Promise<T> {
    const leave = this.#enter()
    try {
      return await work()
    } finally {
      leave()
    }
  }

  #enter(): () => void {
    const before = openSync('/proc/thread-self/ns/net', 'r')
    enter(this.#fd)
    return () => {
      enter(before)
      closeSync(before)
    }
  }
}

function enter(fd: number): void {
  if (setns().call(fd, 0) !== 0) throw new Error(`setns failed with errno ${setns().errno()}`)
}

/** Two hosts whose network interfaces are connected by a switch, each in a namespace of its own. Needs root. */
export class NamespacePair implements Disposable {
  readonly postgres: Namespace
  readonly repository: Namespace
  readonly #names: readonly string[]
  readonly #switch: string

  constructor() {
    const name = (what: string) => `pgts-${process.pid}-${what}`
    const hosts = [
      { name: name('pg'), address: '10.77.0.1', port: 'pg' },
      { name: name('repo'), address: '10.77.0.2', port: 'repo' },
    ] as const
    this.#switch = name('switch')
    this.#names = [this.#switch, ...hosts.map((host) => host.name)]
    atEnd(() => this[Symbol.dispose]())
    for (const one of this.#names) ip('netns', 'add', one)
    this.#inSwitch('link', 'add', 'bridge', 'type', 'bridge')
    this.#inSwitch('link', 'set', 'bridge', 'up')
    for (const { name: host, address, port } of hosts) {
      ip('link', 'add', 'eth0', 'netns', host, 'type', 'veth', 'peer', 'name', port, 'netns', this.#switch)
      this.#inSwitch('link', 'set', port, 'master', 'bridge', 'up')
      ip('-n', host, 'link', 'set', 'lo', 'up')
      ip('-n', host, 'address', 'add', `${address}/24`, 'dev', 'eth0')
      ip('-n', host, 'link', 'set', 'eth0', 'up')
    }
    this.postgres = new Namespace(hosts[0].name, hosts[0].address)
    this.repository = new Namespace(hosts[1].name, hosts[1].address)
  }

  /** Takes the port of the repository host at the switch down or up: packets vanish, and no host is notified. */
  link(state: 'up' | 'down'): void {
    this.#inSwitch('link', 'set', 'repo', state)
  }

  #inSwitch(...args: string[]): void {
    ip('-n', this.#switch, ...args)
  }

  [Symbol.dispose](): void {
    for (const name of this.#names) {
      try {
        execFileSync('ip', ['netns', 'delete', name], { stdio: 'ignore' })
      } catch {
        // It was not created, or is deleted already.
      }
    }
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'inherit'] })
}
