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

const ACTIONS: readonly PlannedFile['action'][] = ['copy', 'empty', 'reference', 'compare']

/** The prior backup, to which planned files refer. */
export interface PriorBackup {
  readonly label: string
  readonly files: LazyList<ManifestFile>
}

/** Bits of what the prior backup has for a file. */
const ENTRY = 1
const BLOCKS = 2

/** The planned files of a backup, made from the listing and from the prior manifest when they are read. */
export class PlannedFiles implements LazyList<PlannedFile> {
  readonly #files: LazyList<ListedFile>
  readonly #prior: PriorBackup | undefined
  readonly #actions: Uint8Array
  readonly #hasPrior: Uint8Array
  /** Positions in the prior manifest. */
  readonly #priorIndexes: Uint32Array
  readonly #resumed = new Map<number, ManifestFile>()

  constructor(files: LazyList<ListedFile>, prior?: PriorBackup) {
    this.#files = files
    this.#prior = prior
    this.#actions = new Uint8Array(files.length)
    this.#hasPrior = new Uint8Array(files.length)
    this.#priorIndexes = new Uint32Array(prior === undefined ? 0 : files.length)
  }

  get length(): number {
    return this.#files.length
  }

  /** Plans one file; the default is to copy it. */
  plan(index: number, action: PlannedFile['action'], prior?: UseOfPrior): void {
    this.#actions[index] = ACTIONS.indexOf(action)
    if (prior === undefined) return
    this.#priorIndexes[index] = prior.index
    this.#hasPrior[index] = (prior.isEntry ? ENTRY : 0) | (prior.isBlocks ? BLOCKS : 0)
  }

  /** Uses what an interrupted backup stored. */
  resume(index: number, resumed: ManifestFile): void {
    this.#resumed.set(index, resumed)
  }

  at(index: number): PlannedFile | undefined {
    const file = this.#files.at(index)
    if (file === undefined) return undefined
    const action = ACTIONS[this.#actions[index]!]!
    const has = this.#hasPrior[index]!
    const prior = has === 0 ? undefined : { backup: this.#prior!, index: this.#priorIndexes[index]!, has }
    return new Planned(index, file, action, this.#resumed.get(index), prior)
  }

  [Symbol.iterator](): Iterator<PlannedFile> {
    return itemsOf(this)
  }
}

interface UsedPrior {
  readonly backup: PriorBackup
  readonly index: number
  readonly has: number
}

/** Entries of the prior manifest are made when they are needed: most readers need only the action. */
class Planned implements PlannedFile {
  readonly #prior: UsedPrior | undefined

  constructor(
    readonly index: number,
    readonly file: ListedFile,
    readonly action: PlannedFile['action'],
    readonly resumed: ManifestFile | undefined,
    prior: UsedPrior | undefined,
  ) {
    this.#prior = prior
  }

  get priorEntry(): ManifestFile | undefined {
    const stored = this.#stored(ENTRY)
    return stored && entryFromPrior(this.file, stored)
  }

  get priorBlocks(): ManifestFile | undefined {
    return this.#stored(BLOCKS)
  }

  /** The prior entry, with a reference; undefined if it is not used for this. */
  #stored(use: number): ManifestFile | undefined {
    if (this.#prior === undefined || (this.#prior.has & use) === 0) return undefined
    const { backup, index } = this.#prior
    const stored = backup.files.at(index)!
    return { ...stored, reference: stored.reference ?? backup.label }
  }
}

/** What the prior backup is used for: `isEntry`: `priorEntry`; `isBlocks`: `priorBlocks`. */
export interface UseOfPrior {
  /** Position in the prior manifest. */
  readonly index: number
  readonly isEntry: boolean
  readonly isBlocks: boolean
}

/**
 * The prior entry defines how the content is stored, including members of newer releases; all other members come from
 * the cluster.
 */
function entryFromPrior(file: ListedFile, priorFile: ManifestFile): ManifestFile {
  const { sizeOriginalBytes: _, ...stored } = priorFile
  const { mode, user, group, timestamp } = file
  return { ...stored, mode, user, group, timestamp }
}
