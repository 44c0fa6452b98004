import { closeSync, openSync, utimesSync } from 'node:fs'
import { constants } from 'node:os'
import { pathOf, type ByteString } from './byte-string.ts'
import { requireModule } from './load-module.ts'

/**
 * Sets the exact mtime of a file. Node's `utimes` rounds to microseconds, and comparing times for equality needs
 * nanoseconds. Machines without 64-bit `time_t` still round it.
 *
 * @param path byte string
 * @param mtimeNs nanoseconds since 1970, as `stat` with `bigint` gives them
 * @throws the system's error, with its `code`
 */
export function setMtimeNs(path: ByteString, mtimeNs: bigint): void {
  const second = 1_000_000_000n
  const [seconds, nanoseconds] = [mtimeNs / second, mtimeNs % second]
  if (nanoseconds < 0n || /^(arm|ia32|mips|mipsel)$/.test(process.arch)) {
    const rounded = Number(mtimeNs / 1000n) / 1e6
    utimesSync(pathOf(path), rounded, rounded)
    return
  }
  const fd = openSync(pathOf(path), 'r')
  try {
    const { call, errno } = loadFutimens()
    // Two timespecs, for access and modification.
    if (call(fd, new BigInt64Array([seconds, nanoseconds, seconds, nanoseconds])) === 0) return
    const why = errno()
    const code = Object.entries(constants.errno).find(([, number]) => number === why)?.[0] ?? `errno ${why}`
    throw Object.assign(new Error(`futimens failed: ${code}`), { code })
  } finally {
    closeSync(fd)
  }
}

interface Futimens {
  call(fd: number, times: BigInt64Array): number
  errno(): number
}

let futimens: Futimens | undefined

function loadFutimens(): Futimens {
  if (futimens !== undefined) return futimens
  const koffi = requireModule<typeof import('koffi')>('koffi')
  futimens = { call: koffi.load(null).func('int futimens(int fd, const void *times)'), errno: () => koffi.errno() }
  return futimens
}
