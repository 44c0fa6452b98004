import type { ManifestFile } from '../../format/manifest.ts'
import { compareBytes } from '../../util/byte-string.ts'
import type { LazyList } from '../../util/lazy-list.ts'

/** A file of a manifest and its position. */
export interface FoundFile {
  readonly index: number
  readonly file: ManifestFile
}

/**
 * Finds files of a manifest by name, without a map of all names. A file that follows the one found before is found in one step, because
 * callers ask in the order of names.
 */
export class PriorFiles {
  readonly #files: LazyList<ManifestFile>
  /** The first file that did not sort before the name that was asked for last; at the end none. */
  #at = 0
  #file: ManifestFile | undefined
  #last = ''

  /** @param files sorted by name */
  constructor(files: LazyList<ManifestFile>) {
    this.#files = files
    this.#file = files.at(0)
  }

  find(name: string): FoundFile | undefined {
    if (compareBytes(name, this.#last) < 0) this.#search(name)
    else this.#advance(name)
    this.#last = name
    return this.#file?.name === name ? { index: this.#at, file: this.#file } : undefined
  }

  #advance(name: string): void {
    for (let step = 0; this.#isBefore(this.#file, name); step++) {
      if (step === MOST_STEPS) return this.#search(name)
      this.#move(this.#at + 1)
    }
  }

  #search(name: string): void {
    let [low, high] = [0, this.#files.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#isBefore(this.#files.at(middle), name)) low = middle + 1
      else high = middle
    }
    this.#move(low)
  }

  #isBefore(file: ManifestFile | undefined, name: string): boolean {
    return file !== undefined && compareBytes(file.name, name) < 0
  }

  #move(index: number): void {
    this.#at = index
    this.#file = this.#files.at(index)
  }
}

/** More files between two names than this are skipped by a search. */
const MOST_STEPS = 64
