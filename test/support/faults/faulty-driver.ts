import type { Cancellable, PendingFile, StorageDriver } from '../../../src/storage/driver.ts'

/** The changes of a repository, in order: at each of them a crash or a full disk can occur. */
export type Step = 'create' | 'write' | 'commit' | 'remove' | 'remove-tree' | 'sync' | 'symlink' | 'make-path'

export interface FaultyDriver extends StorageDriver {
  /** Every step so far, with its name: `commit backup/main/backup.info`. */
  readonly steps: readonly string[]
  /** Was the fault reached? A test whose fault was never reached proves nothing. */
  readonly reached: boolean
}

/** The process ends at this step: no later call has an effect, and nothing is cleaned up. */
export class Crash extends Error {
  override readonly name = 'Crash'
}

/** Is this the crash, or an error that reports it? Other reads at that moment fail, too. */
export function isCrash(error: unknown): boolean {
  return error instanceof Crash || (error instanceof Error && error.cause !== undefined && isCrash(error.cause))
}

/**
 * A driver that crashes before its `at`-th step (from 0). Later calls fail, too, as of a process that has ended. Without
 * `at` it only counts the steps.
 */
export function crashing(driver: StorageDriver, at = Infinity): FaultyDriver {
  return faulty(driver, { at, error: (step) => new Crash(`crash before ${step}`), dead: true })
}

/** A driver whose `at`-th step (from 0; of one kind when `only` is given) fails once with this error, and works again after that. */
export function failing(driver: StorageDriver, fault: { at: number; error: Error; only?: Step }): FaultyDriver {
  return faulty(driver, {
    at: fault.at,
    error: () => fault.error,
    dead: false,
    only: fault.only || undefined,
  })
}

interface Fault {
  readonly at: number
  readonly only?: Step
  readonly error: (step: string) => Error
  readonly dead: boolean
}

function faulty(driver: StorageDriver, fault: Fault): FaultyDriver {
  const steps: string[] = []
  let counted = 0
  let reached = false
  const step = (kind: Step, name: string) => {
    const words = `${kind} ${name}`
    if (reached && fault.dead) throw fault.error(words)
    const counts = fault.only === undefined || fault.only === kind
    if (counts && counted++ === fault.at) {
      reached = true
      throw fault.error(words)
    }
    steps.push(words)
  }
  const alive = () => {
    if (reached && fault.dead) throw fault.error('a read')
  }
  const links = driver.links
  const createIfAbsent = driver.createIfAbsent?.bind(driver)
  return {
    steps,
    get reached() {
      return reached
    },
    display: driver.display,
    async stat(name, options) {
      alive()
      return driver.stat(name, options)
    },
    async *list(prefix, options) {
      alive()
      for await (const file of driver.list(prefix, options)) {
        alive()
        yield file
      }
    },
    async read(name, range) {
      alive()
      return driver.read(name, range)
    },
    async create(name, options) {
      step('create', name)
      const file = await driver.create(name, options)
      return faultyFile(file, name, step, () => reached && fault.dead)
    },
    ...(createIfAbsent === undefined
      ? {}
      : {
          async createIfAbsent(name: string, bytes: Uint8Array, options?: Cancellable) {
            step('create', name)
            return createIfAbsent(name, bytes, options)
          },
        }),
    async remove(name, options) {
      step('remove', name)
      return driver.remove(name, options)
    },
    async removeTree(prefix, options) {
      step('remove-tree', prefix)
      return driver.removeTree(prefix, options)
    },
    async sync(prefix, options) {
      step('sync', prefix)
      return driver.sync(prefix, options)
    },
    links:
      links === undefined
        ? undefined
        : {
            async symlink(name: string, destination: string) {
              step('symlink', name)
              return links.symlink(name, destination)
            },
            async readlink(name: string) {
              alive()
              return links.readlink(name)
            },
            async makePath(name: string) {
              step('make-path', name)
              return links.makePath(name)
            },
          },
    async [Symbol.asyncDispose]() {
      // A crashed process closes nothing; the garbage collector closes its files in this test process.
      if (!(reached && fault.dead)) await driver[Symbol.asyncDispose]()
    },
  }
}

function faultyFile(
  file: PendingFile,
  name: string,
  step: (kind: Step, name: string) => void,
  isDead: () => boolean,
): PendingFile {
  return {
    sink: {
      write(chunk) {
        step('write', name)
        return file.sink.write(chunk)
      },
    },
    async commit(options) {
      step('commit', name)
      return file.commit(options)
    },
    async [Symbol.asyncDispose]() {
      if (!isDead()) await file[Symbol.asyncDispose]()
    },
  }
}
