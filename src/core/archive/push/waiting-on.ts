import type { PendingFile, StorageDriver } from '../../../storage/driver.ts'

/**
 * The repositories that a push is waiting for, in memory that the main thread can read while this thread is stuck in a
 * call. The error can then name the repository.
 */
export class WaitingOn {
  readonly #keys: readonly number[]
  readonly #calls: Int32Array

  /** @param buffer `WaitingOn.bufferFor(keys)`, shared by both threads */
  constructor(keys: readonly number[], buffer: SharedArrayBuffer) {
    this.#keys = keys
    this.#calls = new Int32Array(buffer)
  }

  static bufferFor(keys: readonly number[]): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * keys.length)
  }

  /** Repositories that have not answered a call. */
  keys(): number[] {
    return this.#keys.filter((_, index) => Atomics.load(this.#calls, index) > 0)
  }

  /** The same storage, with every call counted until it returns. */
  watch(key: number, storage: StorageDriver): StorageDriver {
    const index = this.#keys.indexOf(key)
    const enter = () => void Atomics.add(this.#calls, index, 1)
    const leave = () => void Atomics.sub(this.#calls, index, 1)
    const during = async <T>(call: () => Promise<T>): Promise<T> => {
      enter()
      try {
        return await call()
      } finally {
        leave()
      }
    }
    return {
      display: storage.display,
      stat: (name, options) => during(() => storage.stat(name, options)),
      async *list(prefix, options) {
        enter()
        try {
          yield* storage.list(prefix, options)
        } finally {
          leave()
        }
      },
      read: (name, range) => during(() => storage.read(name, range)),
      create: (name, options) =>
        during(async () => watchFile(await storage.create(name, options), during, enter, leave)),
      createIfAbsent:
        storage.createIfAbsent === undefined
          ? undefined
          : (name, bytes, options) => during(() => storage.createIfAbsent!(name, bytes, options)),
      remove: (name, options) => during(() => storage.remove(name, options)),
      removeTree: (prefix, options) => during(() => storage.removeTree(prefix, options)),
      sync: (prefix, options) => during(() => storage.sync(prefix, options)),
      // The repository is opened once and closed by the worker.
      [Symbol.asyncDispose]: async () => undefined,
    }
  }
}

function watchFile(
  file: PendingFile,
  during: <T>(call: () => Promise<T>) => Promise<T>,
  enter: () => void,
  leave: () => void,
): PendingFile {
  return {
    sink: {
      write(chunk) {
        enter()
        let answer: void | Promise<void>
        try {
          answer = file.sink.write(chunk)
        } catch (error) {
          leave()
          throw error
        }
        if (answer === undefined) return leave()
        return answer.finally(leave)
      },
    },
    commit: (options) => during(() => file.commit(options)),
    [Symbol.asyncDispose]: () => during(async () => file[Symbol.asyncDispose]()),
  }
}
