import { lstat, readlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'

/**
 * What changes its modification time when one of these paths begins to mean something else: the file itself when it is
 * written to, its directory when another file is renamed over it, the directory of every link on the way when the link
 * is replaced (a configuration that is switched by a link keeps its old times), and where nothing is there yet, the
 * deepest directory that is.
 *
 * @param paths absolute
 * @returns absolute paths that exist, each once, sorted
 */
export async function witnessesOf(paths: readonly string[]): Promise<readonly string[]> {
  const witnesses = new Set<string>()
  for (const path of paths) await follow(resolve('/', path), witnesses, 40)
  return [...witnesses].sort()
}

async function follow(path: string, witnesses: Set<string>, linksLeft: number): Promise<void> {
  const names = path.split('/').filter((name) => name !== '')
  let at = '/'
  for (const [i, name] of names.entries()) {
    const here = join(at, name)
    const found = await lstat(here).catch(() => undefined)
    if (found === undefined) {
      witnesses.add(at)
      return
    }
    if (found.isSymbolicLink()) {
      witnesses.add(at)
      if (linksLeft === 0) return
      const target = resolve(at, await readlink(here))
      return follow(join(target, ...names.slice(i + 1)), witnesses, linksLeft - 1)
    }
    at = here
  }
  witnesses.add(path)
  witnesses.add(dirname(path))
}
