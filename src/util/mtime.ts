import { closeSync, openSync, utimesSync } from 'node:fs'
import { pathOf, type ByteString } from './byte-string.ts'
import { errnoError, nativeFunction } from './native.ts'

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
    throw errnoError('futimens', errno())
  } finally {
    closeSync(fd)
  }
}

const loadFutimens = nativeFunction('int futimens(int fd, const void *times)')
