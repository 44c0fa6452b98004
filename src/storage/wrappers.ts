import { PgtsError } from '../util/error.ts'
import type { LinkSupport, StorageDriver, StoredFile } from './driver.ts'
import { assertName, assertPrefix } from './name.ts'

/** The driver with some members replaced; an optional member that it lacks stays absent. Every wrapper is built of this. */
export function forwarding(driver: StorageDriver, overrides: Partial<StorageDriver>): StorageDriver {
  return {
    display: driver.display,
    parallel: driver.parallel,
    reading: driver.reading,
    stat: (name, options) => driver.stat(name, options),
    list: (prefix, options) => driver.list(prefix, options),
    read: (name, range) => driver.read(name, range),
    create: (name, options) => driver.create(name, options),
    createIfAbsent: driver.createIfAbsent?.bind(driver),
    remove: (name, options) => driver.remove(name, options),
    removeFiles: driver.removeFiles?.bind(driver),
    removeTree: (prefix, options) => driver.removeTree(prefix, options),
    abortUploads: driver.abortUploads?.bind(driver),
    sync: (prefix, options) => driver.sync(prefix, options),
    links: driver.links,
    [Symbol.asyncDispose]: () => driver[Symbol.asyncDispose](),
    ...overrides,
  }
}

/** Lists this path once, names only: for several functions that look at one state of it. */
export function listedOnce(driver: StorageDriver, path: string): StorageDriver {
  let listed: Promise<readonly StoredFile[]> | undefined
  return forwarding(driver, {
    async *list(prefix, options = {}) {
      if (prefix !== path || options.recursive === true || options.namesOnly !== true) {
        yield* driver.list(prefix, options)
        return
      }
      yield* await (listed ??= allOf(driver.list(prefix, options)))
    },
  })
}

async function allOf<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

/** The same storage for commands that only read: every change is refused. */
export function readOnly(driver: StorageDriver): StorageDriver {
  const refuse = async (): Promise<never> => {
    throw new PgtsError('assert', `${driver.display} was opened read only`)
  }
  const { links, createIfAbsent, removeFiles, abortUploads } = driver
  return forwarding(driver, {
    create: refuse,
    createIfAbsent: createIfAbsent && refuse,
    remove: refuse,
    removeFiles: removeFiles && refuse,
    removeTree: refuse,
    abortUploads: abortUploads && refuse,
    sync: refuse,
    links: links && { readlink: (name) => links.readlink(name), symlink: refuse, makePath: refuse },
  })
}

/**
 * The part of a storage below `prefix`, with names relative to it. Disposing this does not close the storage: its
 * opener closes it.
 */
export function scoped(driver: StorageDriver, prefix: string): StorageDriver {
  assertPrefix(prefix)
  if (prefix === '') return driver
  const inner = (name: string) => {
    assertPrefix(name)
    return name === '' ? prefix : `${prefix}/${name}`
  }
  const innerFile = (name: string) => {
    assertName(name)
    return inner(name)
  }
  const outer = (file: StoredFile): StoredFile => ({ ...file, name: file.name.slice(prefix.length + 1) })
  const { links, createIfAbsent, removeFiles, abortUploads } = driver
  return forwarding(driver, {
    display: `${driver.display}/${prefix}`,
    stat: async (name, options) => {
      const file = await driver.stat(inner(name), options)
      return file && outer(file)
    },
    async *list(name, options) {
      for await (const file of driver.list(inner(name), options)) yield outer(file)
    },
    read: async (name, range) => driver.read(innerFile(name), range),
    create: async (name, options) => driver.create(innerFile(name), options),
    createIfAbsent:
      createIfAbsent === undefined
        ? undefined
        : async (name, bytes, options) => createIfAbsent.call(driver, innerFile(name), bytes, options),
    remove: async (name, options) => driver.remove(innerFile(name), options),
    removeFiles:
      removeFiles === undefined
        ? undefined
        : async (names, options) => removeFiles.call(driver, names.map(innerFile), options),
    removeTree: async (name, options) => driver.removeTree(innerFile(name), options),
    abortUploads:
      abortUploads === undefined
        ? undefined
        : async (name, beforeMs, options) => abortUploads.call(driver, inner(name), beforeMs, options),
    sync: (name, options) => driver.sync(inner(name), options),
    links: links === undefined ? undefined : scopedLinks(links, inner),
    [Symbol.asyncDispose]: async () => undefined,
  })
}

function scopedLinks(links: LinkSupport, inner: (name: string) => string): LinkSupport {
  return {
    symlink: (name, destination) => links.symlink(inner(name), destination),
    readlink: (name) => links.readlink(inner(name)),
    makePath: (name) => links.makePath(inner(name)),
  }
}
