import type { LinkSupport, StorageDriver } from '../../storage/driver.ts'
import { forwarding } from '../../storage/wrappers.ts'
import { bytesToText, asBytes } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

const AREAS = ['archive', 'backup', 'pgts']

/** What the other host may use: of these stanzas, or all files. */
export type Limits = readonly string[] | 'all'

/** The storage for a process of another host: links stay inside of it, and only files that it may use are accessible. */
export function limited(storage: StorageDriver, limits: Limits): StorageDriver {
  const roots = limits === 'all' ? undefined : limits.flatMap((stanza) => AREAS.map((area) => `${area}/${stanza}`))
  const check = (name: string) => {
    if (!isInside(name, roots)) throw denied(storage, name)
  }
  const links = storage.links && linksInside(storage, storage.links, roots)
  if (roots === undefined) return links === undefined ? storage : forwarding(storage, { links })
  const checked = checking(storage, check)
  return forwarding(storage, {
    links,
    stat: checked(storage.stat),
    list: (prefix, options) => {
      // info lists the stanzas even if one is named: those of other clients are left out.
      if (AREAS.includes(prefix) && options?.recursive !== true) return insideOnly(storage.list(prefix, options), roots)
      check(prefix)
      return storage.list(prefix, options)
    },
    read: checked(storage.read),
    create: checked(storage.create),
    createIfAbsent: storage.createIfAbsent && checked(storage.createIfAbsent),
    remove: checked(storage.remove),
    removeFiles:
      storage.removeFiles &&
      (async (names, options) => {
        for (const name of names) check(name)
        await storage.removeFiles?.(names, options)
      }),
    removeTree: checked(storage.removeTree),
    abortUploads: storage.abortUploads && checked(storage.abortUploads),
    sync: checked(storage.sync),
  })
}

/** Methods of an object whose first parameter is checked. */
function checking(owner: object, check: (name: string) => void) {
  return <A extends readonly unknown[], R>(method: (name: string, ...rest: A) => Promise<R>) =>
    async (name: string, ...rest: A): Promise<R> => {
      check(name)
      return method.call(owner, name, ...rest)
    }
}

/** The driver of a file system follows links: none may lead out of the repository or of the stanza. */
function linksInside(storage: StorageDriver, links: LinkSupport, roots: readonly string[] | undefined): LinkSupport {
  const checked = checking(links, (name) => {
    if (!isInside(name, roots)) throw denied(storage, name)
  })
  return {
    symlink: checked(async (name, destination: string) => {
      const target = destinationOf(name, destination)
      if (target === undefined || !isInside(target, roots)) throw denied(storage, name)
      await links.symlink(name, destination)
    }),
    readlink: checked(links.readlink),
    makePath: checked(links.makePath),
  }
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
