import { chmodSync } from 'node:fs'
import { nativeFunction } from '../../../src/util/native.ts'

const AF_UNIX = 1
const SOCK_DGRAM = 2
const MSG_DONTWAIT = 0x40

const socket = nativeFunction('int socket(int domain, int type, int protocol)')
const bind = nativeFunction('int bind(int fd, const void *address, uint32_t size)')
const receive = nativeFunction('int64_t recv(int fd, void *bytes, size_t size, int flags)')
const close = nativeFunction('int close(int fd)')

/** The socket that systemd gives a service as NOTIFY_SOCKET: Node cannot receive datagrams of the file system. */
export class NotifySocket implements Disposable {
  readonly #fd: number

  /** @param path in a directory; with `@` at the begin it is not in the file system */
  constructor(readonly path: string) {
    this.#fd = socket().call(AF_UNIX, SOCK_DGRAM, 0)
    const name = Buffer.from(path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`)
    const address = Buffer.concat([Buffer.from(new Uint16Array([AF_UNIX]).buffer), name])
    if (bind().call(this.#fd, address, address.length) !== 0) throw new Error(`bind: errno ${bind().errno()}`)
    if (!path.startsWith('@')) chmodSync(path, 0o666)
  }

  /** Messages that have arrived since the last call. */
  received(): string[] {
    const found: string[] = []
    const buffer = Buffer.alloc(4096)
    for (;;) {
      const size = receive().call(this.#fd, buffer, buffer.length, MSG_DONTWAIT)
      if (size < 0) return found
      found.push(buffer.subarray(0, size).toString())
    }
  }

  [Symbol.dispose](): void {
    close().call(this.#fd)
  }
}
