import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const PREFIX = 'pgts-run-'
const GIB = 2 ** 30
/** Two test files at the same time needed 5 GiB at most. */
const SIZE_BYTES = 12 * GIB

/**
 * Mount a file system in memory as the directory for temporary files of this run, if this is root and the memory is free. Tests
 * create and remove hundreds of thousands of files: on ext4 without a journal, up to half of the CPU of a test file was the kernel's
 * search for an inode that was not deleted recently. With PGTS_TEST_KEEP the files stay in the usual directory.
 *
 * @returns a function that removes it
 */
export function useMemoryDisk(): () => void {
  const parent = tmpdir()
  removeStale(parent)
  if (process.getuid?.() !== 0 || process.env['PGTS_TEST_KEEP'] !== undefined) return () => undefined
  if (availableBytes() < SIZE_BYTES) return () => undefined
  const path = join(parent, `${PREFIX}${process.pid}`)
  mkdirSync(path)
  const options = `size=${SIZE_BYTES},mode=1777`
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'pgts-test', path]).status !== 0) {
    rmdirSync(path)
    return () => undefined
  }
  process.env['TMPDIR'] = path
  return () => remove(path)
}

function remove(path: string): void {
  spawnSync('umount', ['-l', path])
  rmdirSync(path)
}

/** Of a run that was killed. */
function removeStale(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = name.startsWith(PREFIX) ? Number(name.slice(PREFIX.length)) : Number.NaN
    if (Number.isInteger(pid) && !isRunning(pid)) remove(join(parent, name))
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function availableBytes(): number {
  const [, kib] = /^MemAvailable: *(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'latin1')) ?? []
  return Number(kib ?? 0) * 1024
}
