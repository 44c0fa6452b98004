import { groupOf } from '../../format/wal-times.ts'
import type { ScannedSegment } from './segment-scan.ts'
import { refreshIndex } from './times-index.ts'
import { addSegments, type TimesArchive } from './times-store.ts'

/** A group is read and written for this many segments. */
const BATCH = 64

/**
 * Records the commit times of segments of one archive that were archived without them. After the first failure nothing more
 * is written: the times of these segments stay unknown.
 */
export class TimesWriter {
  /** Number of recorded segments. */
  recorded = 0
  failure: unknown
  readonly #archive: TimesArchive
  readonly #changed = new Set<string>()
  #pending: ScannedSegment[] = []

  constructor(archive: TimesArchive) {
    this.#archive = archive
  }

  add(scanned: ScannedSegment | undefined): void {
    if (scanned !== undefined && this.failure === undefined) this.#pending.push(scanned)
  }

  /** Writes if enough segments are pending. */
  async writeIfDue(): Promise<void> {
    if (this.#pending.length >= BATCH) await this.#attempt(() => this.#write())
  }

  /**
   * Writes the rest, and the index.
   *
   * @param outdated groups of which the index does not know everything
   */
  async end(outdated: ReadonlySet<string>): Promise<void> {
    await this.#attempt(async () => {
      await this.#write()
      const changed = [...this.#changed, ...outdated]
      if (changed.length > 0) await refreshIndex(this.#archive, changed)
    })
  }

  async #write(): Promise<void> {
    const pending = this.#pending
    this.#pending = []
    if (pending.length === 0) return
    await addSegments(this.#archive, pending)
    for (const { segment } of pending) this.#changed.add(groupOf(segment))
    this.recorded += pending.length
  }

  async #attempt(work: () => Promise<void>): Promise<void> {
    if (this.failure !== undefined) return
    try {
      await work()
    } catch (error) {
      this.#archive.signal.throwIfAborted()
      this.failure = error
      this.#pending = []
    }
  }
}
