import type { ManifestFile } from '../../format/manifest.ts'
import type { ListedFile } from '../../postgres/data-directory.ts'
import { itemsOf, type LazyList } from '../../util/lazy-list.ts'

/**
 * The action for one file of the cluster.
 *  - `empty`: it has no content; only the manifest lists it
 *  - `reference`: its size and time are those of the file in the prior backup
 *  - `compare`: it is read and hashed first, and copied only if it differs from the prior backup
 *  - `copy`: it is copied
 */
export interface PlannedFile {
  /** Position in the list of planned files. */
  readonly index: number
  readonly file: ListedFile
  readonly action: 'empty' | 'reference' | 'compare' | 'copy'
  /**
   * The manifest entry if the content turns out to be that of the prior backup: stored there, with the current owner,
   * mode and time. Present whenever the sizes are equal, because a file with a new time may still have the same
   * content.
   */
  readonly priorEntry?: ManifestFile
  /** The prior entry if it is block incremental, so that a new block map can continue it. `reference` is always set. */
  readonly priorBlocks?: ManifestFile
  /** The entry if an interrupted backup has stored the file; it must be verified. */
  readonly resumed?: ManifestFile
}

/** What is known of a file besides the listing. Most files of a full backup have none of it. */
type Known = Pick<PlannedFile, 'priorEntry' | 'priorBlocks' | 'resumed'>

const ACTIONS: readonly PlannedFile['action'][] = ['copy', 'empty', 'reference', 'compare']

/** The planned files of a backup, made from the listing when they are read. */
export class PlannedFiles implements LazyList<PlannedFile> {
  readonly #files: LazyList<ListedFile>
  readonly #actions: Uint8Array
  readonly #known = new Map<number, Known>()

  constructor(files: LazyList<ListedFile>) {
    this.#files = files
    this.#actions = new Uint8Array(files.length)
  }

  get length(): number {
    return this.#files.length
  }

  /** Plans one file; the default is to copy it. */
  plan(index: number, action: PlannedFile['action'], known?: Known): void {
    this.#actions[index] = ACTIONS.indexOf(action)
    if (known !== undefined) this.#known.set(index, known)
  }

  /** Uses what an interrupted backup stored. */
  resume(index: number, resumed: ManifestFile): void {
    this.#known.set(index, { ...this.#known.get(index), resumed })
  }

  at(index: number): PlannedFile | undefined {
    const file = this.#files.at(index)
    if (file === undefined) return undefined
    return { index, file, action: ACTIONS[this.#actions[index]!]!, ...this.#known.get(index) }
  }

  [Symbol.iterator](): Iterator<PlannedFile> {
    return itemsOf(this)
  }
}
