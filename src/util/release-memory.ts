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
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  // The code cache of a module is valid for the flags with which it was made.
  setFlagsFromString('--no-expose-gc')
  collect()
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
