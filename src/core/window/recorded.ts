import type { WalSegment } from '../../format/wal-segment.ts'
import { groupOf, type WalTimes } from '../../format/wal-times.ts'
import { hasNoHole, loadIndex, type TimesIndex } from './times-index.ts'
import { loadGroup, type TimesArchive } from './times-store.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** A directory with segments of 1 MiB has 16 groups. */
const MOST_PREFETCHED = 16

/** Which segments of an archive have recorded commit times. The index is read once, a group when it is needed. */
export class RecordedTimes {
  /** Groups that have segments of which the index does not know. */
  readonly outdated = new Set<string>()
  readonly #archive: TimesArchive
  readonly #index: TimesIndex | undefined
  /** Number of segments by directory of the archive, as far as the index has them. */
  readonly #counts = new Map<string, number>()
  readonly #groups = new Map<string, Promise<WalTimes | undefined>>()

  private constructor(archive: TimesArchive, index: TimesIndex | undefined) {
    this.#archive = archive
    this.#index = index
    for (const [group, { count }] of index?.rows ?? []) {
      const directory = group.slice(0, 16)
      this.#counts.set(directory, (this.#counts.get(directory) ?? 0) + count)
    }
  }

  /** @throws errors of the storage */
  static async load(archive: TimesArchive): Promise<RecordedTimes> {
    return new RecordedTimes(archive, await loadIndex(archive))
  }

  /** Requests the groups of a directory that will be needed, while the directory is listed. */
  prefetch(directory: string): void {
    const open = this.#index?.open?.filter((group) => group.startsWith(directory)) ?? []
    for (const group of open.slice(-MOST_PREFETCHED)) markHandled(this.#load(group))
  }

  /** True if the index has all segments that a directory of the archive (`0000000100000000`) can contain. */
  hasWhole(directory: string): boolean {
    return this.#index !== undefined && this.#counts.get(directory) === 2 ** 32 / this.#index.segmentSize
  }

  /**
   * Those of the segments that are not recorded.
   *
   * @param again also those whose scan ended early
   * @throws errors of the storage
   */
  async missing(segments: readonly WalSegment[], again: boolean): Promise<Set<WalSegment>> {
    const missing = new Set<WalSegment>()
    for (const segment of segments) {
      if (this.#isInIndex(segment, again)) continue
      const group = groupOf(segment)
      const times = (await this.#load(group))?.segments.get(segment)
      if (times === undefined || (again && times.incomplete === true)) missing.add(segment)
      else if (!this.#isNewest(group)) this.outdated.add(group)
    }
    return missing
  }

  #load(group: string): Promise<WalTimes | undefined> {
    const known = this.#groups.get(group)
    if (known !== undefined) return known
    const loading = loadGroup(this.#archive, group)
    this.#groups.set(group, loading)
    return loading
  }

  /** The newest group still grows and has no row, so the index knows everything that it can say about it. */
  #isNewest(group: string): boolean {
    const { open, rows } = this.#index ?? {}
    return open?.at(-1) === group && [...(rows?.keys() ?? [])].every((other) => other < group)
  }

  #isInIndex(segment: WalSegment, again: boolean): boolean {
    const row = this.#index?.rows.get(groupOf(segment))
    if (row === undefined || !hasNoHole(row, this.#index!.segmentSize)) return false
    return segment >= row.first && segment <= row.last && !(again && row.incomplete > 0)
  }
}
