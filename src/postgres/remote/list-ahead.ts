import { bytes, type ByteString } from '../../util/byte-string.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { ClusterDirectory } from '../cluster-access.ts'

type List = (path: ByteString) => Promise<ClusterDirectory | undefined>

/** Directories that are requested before a walk asks for them: each request crosses the network. */
const MOST_AHEAD = 16

/**
 * Lists directories for a walk that goes into each directory, in the order of names, as it meets it. The caller
 * announces the walk, or asks for a directory after its parent; from then on the next ones are requested ahead.
 */
export class ListAhead {
  readonly #list: List
  /** Directories that were met and not asked for yet, in the order of the walk. */
  #next: { readonly path: ByteString; listed?: Promise<ClusterDirectory | undefined> }[] = []

  constructor(list: List) {
    this.#list = list
  }

  /** Before a walk of this directory: it is requested now, and those in it as soon as it is known. */
  expectWalk(path: ByteString): void {
    this.#next = [{ path, listed: this.#ahead(path) }]
  }

  async list(path: ByteString): Promise<ClusterDirectory | undefined> {
    const at = this.#next.findIndex((one) => one.path === path)
    const isWalk = at !== -1
    // The walk leaves out those before it.
    const known = isWalk ? this.#next.splice(0, at + 1).at(-1) : undefined
    const directory = await (known?.listed ?? this.#list(path))
    const inside = [...(directory ?? [])].filter(({ kind }) => kind === 'path')
    this.#next = [...inside.map(({ name }) => ({ path: bytes`${path}/${name}` })), ...this.#next]
    if (isWalk) for (const one of this.#next.slice(0, MOST_AHEAD)) one.listed ??= this.#ahead(one.path)
    return directory
  }

  #ahead(path: ByteString): Promise<ClusterDirectory | undefined> {
    const listed = this.#list(path)
    markHandled(listed)
    return listed
  }
}
