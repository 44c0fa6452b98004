import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { dropIdleMemory } from './idle-memory.ts'
import { nativeFunction } from './native.ts'

/** Give memory back to the system: for a process that stays without work. */
export function releaseMemory(): void {
  dropIdleMemory()
  collectGarbage()
  trimHeap()
}

/** V8 collects when it allocates, so an idle process would keep its garbage, and the buffers outside the heap. */
function collectGarbage(): void {
  garbageCollector()()
}

const YOUNG_BYTES = 16 * 1024 * 1024
let youngBytes = 0

/**
 * Call for received buffers, which are outside the heap: after each 64 MiB of them V8 would mark the whole heap to find those
 * that are not used any more. Nearly all are young, and a collection of young objects finds these.
 */
export function countReceived(bytes: number): void {
  youngBytes += bytes
  if (youngBytes < YOUNG_BYTES) return
  youngBytes = 0
  garbageCollector()({ type: 'minor' })
}

type GarbageCollector = (options?: { readonly type: 'minor' }) => void
let collector: GarbageCollector | undefined

function garbageCollector(): GarbageCollector {
  if (collector !== undefined) return collector
  setFlagsFromString('--expose-gc')
  collector = runInNewContext('gc') as GarbageCollector
  // The code cache of a module is valid for the flags with which it was made.
  setFlagsFromString('--no-expose-gc')
  return collector
}

const loadMallocTrim = nativeFunction('int malloc_trim(size_t pad)')

/** glibc keeps what is freed below other blocks: of a repository in S3 30 MB. */
function trimHeap(): void {
  try {
    loadMallocTrim().call(0)
  } catch {
    // Another libc.
  }
}
