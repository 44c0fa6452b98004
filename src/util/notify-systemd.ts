import { messageOf } from './error.ts'
import { nativeFunction } from './native.ts'

/**
 * Sends a state (`READY=1`) to systemd: one datagram to the socket in NOTIFY_SOCKET, which Node cannot send.
 *
 * @returns why it failed; undefined if it was sent, or if systemd did not start this process
 */
export function notifySystemd(state: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const path = env['NOTIFY_SOCKET']
  if (path === undefined || path === '') return undefined
  try {
    send(Buffer.from(state), addressOf(path))
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000

const socket = nativeFunction('int socket(int domain, int type, int protocol)')
const sendTo = nativeFunction(
  'int64_t sendto(int fd, const void *bytes, size_t size, int flags, const void *to, uint32_t toSize)',
)
const close = nativeFunction('int close(int fd)')

function send(bytes: Buffer, to: Buffer): void {
  const fd = socket().call(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)
  if (fd < 0) throw new Error(`socket failed with errno ${socket().errno()}`)
  try {
    if (sendTo().call(fd, bytes, bytes.length, 0, to, to.length) < 0) {
      throw new Error(`sendto failed with errno ${sendTo().errno()}`)
    }
  } finally {
    close().call(fd)
  }
}

/** struct sockaddr_un. `@` begins a name that is not in the file system: its first byte is zero. */
function addressOf(path: string): Buffer {
  const family = Buffer.from(new Uint16Array([AF_UNIX]).buffer)
  const name = path.startsWith('@') ? `\0${path.slice(1)}` : `${path}\0`
  return Buffer.concat([family, Buffer.from(name)])
}
