import { readFileSync } from 'node:fs'

/**
 * Open files of the main thread: log and lock files, connections to the server and to a store, modules being loaded.
 */
const RESERVED = 100

/**
 * Maximum number of open files of a worker thread, measured with 38 to 96 threads and 1,024 files: 4 of Node (6 with
 * io_uring), its modules while they are loaded (all at once; more with the library of a store), then the files of its
 * jobs. With a store 4 jobs run in each, with up to 32 connections.
 */
const OF_WORKER = { files: 9, withStore: 48 }

/**
 * The number of workers, at most `wanted`, for which the limit of open files is sufficient. @param limit soft limit of
 * this process
 */
export function fittingWorkers(wanted: number, withStore: boolean, limit: number): number {
  const each = withStore ? OF_WORKER.withStore : OF_WORKER.files
  return Math.min(wanted, Math.max(1, Math.floor((limit - RESERVED) / each)))
}

/** Soft limit of open files of this process; Infinity if the system does not provide it. Node raises it to the hard limit. */
export function openFilesLimit(): number {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1')) ?? []
    return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
  } catch {
    return Number.POSITIVE_INFINITY
  }
}
