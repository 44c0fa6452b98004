import type { StorageDriver } from '../../storage/driver.ts'
import { forwarding } from '../../storage/wrappers.ts'
import { bytesToText, asBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

const AREAS = ['archive', 'backup', 'pgts']

/** What the other host may use: of these stanzas, or all files. */
export type Limits = readonly string[] | 'all'

/** The storage for a process of another host: links stay inside of it, and only files that it may use are accessible. */
export function limited(storage: StorageDriver, limits: Limits): StorageDriver {
  const roots = limits === 'all' ? undefined : limits.flatMap((stanza) => AREAS.map((area) => `${area}/${stanza}`))
  const assertAllowed = (name: string) => {
    if (!isInside(name, roots)) throw denied(storage, name)
  }
  const inner = linksInside(storage, roots)
  if (roots === undefined) return inner
  const { createIfAbsent, removeFiles, abortUploads } = inner
  return forwarding(inner, {
    stat: async (name, options) => {
      assertAllowed(name)
      return inner.stat(name, options)
    },
    list: (prefix, options) => {
      // info lists the stanzas even if one is named: those of other clients are left out.
      if (AREAS.includes(prefix) && options?.recursive !== true) return insideOnly(inner.list(prefix, options), roots)
      assertAllowed(prefix)
      return inner.list(prefix, options)
    },
    read: async (name, range) => {
      assertAllowed(name)
      return inner.read(name, range)
    },
    create: async (name, options) => {
      assertAllowed(name)
      return inner.create(name, options)
    },
    createIfAbsent:
      createIfAbsent &&
      (async (name, bytes, options) => {
        assertAllowed(name)
        return createIfAbsent.call(inner, name, bytes, options)
      }),
    remove: async (name, options) => {
      assertAllowed(name)
      await inner.remove(name, options)
    },
    removeFiles:
      removeFiles &&
      (async (names, options) => {
        for (const name of names) assertAllowed(name)
        await removeFiles.call(inner, names, options)
      }),
    removeTree: async (prefix, options) => {
      assertAllowed(prefix)
      await inner.removeTree(prefix, options)
    },
    abortUploads:
      abortUploads &&
      (async (prefix, beforeMs, options) => {
        assertAllowed(prefix)
        return abortUploads.call(inner, prefix, beforeMs, options)
      }),
    sync: async (prefix, options) => {
      assertAllowed(prefix)
      await inner.sync(prefix, options)
    },
  })
}

/** The driver of a file system follows links: none may lead out of the repository or of the stanza. */
function linksInside(storage: StorageDriver, roots: readonly string[] | undefined): StorageDriver {
  const { links } = storage
  if (links === undefined) return storage
  return forwarding(storage, {
    links: {
      symlink: async (name, destination) => {
        const target = destinationOf(name, destination)
        if (target === undefined || !isInside(name, roots) || !isInside(target, roots)) throw denied(storage, name)
        await links.symlink(name, destination)
      },
      readlink: async (name) => {
        if (!isInside(name, roots)) throw denied(storage, name)
        return links.readlink(name)
      },
      makePath: async (name) => {
        if (!isInside(name, roots)) throw denied(storage, name)
        await links.makePath(name)
      },
    },
  })
}

async function* insideOnly<T extends { readonly name: string }>(
  entries: AsyncIterable<T>,
  roots: readonly string[],
): AsyncGenerator<T> {
  for await (const entry of entries) if (isInside(entry.name, roots)) yield entry
}

function isInside(name: string, roots: readonly string[] | undefined): boolean {
  return roots === undefined || roots.some((root) => name === root || name.startsWith(`${root}/`))
}

/** What a link refers to, as a name of the repository; undefined: outside of it. */
function destinationOf(name: string, destination: string): string | undefined {
  if (destination.startsWith('/')) return undefined
  const parts = name.split('/').slice(0, -1)
  for (const part of destination.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.pop() === undefined) return undefined
  }
  return parts.join('/')
}

function denied({ display }: StorageDriver, name: string): PgtsError {
  return new PgtsError('access', `access to '${display}/${bytesToText(asBytes(name))}' is denied to the other host`, {
    hints: ['name the stanza, or allow all stanzas (*) on the repository host'],
  })
}
