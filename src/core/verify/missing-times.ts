import { messageOf } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { RecordedTimes } from '../window/recorded.ts'
import type { ScannedSegment } from '../window/segment-scan.ts'
import type { TimesArchive } from '../window/times-store.ts'
import { TimesWriter } from '../window/times-writer.ts'
import type { WalSegment } from '../../format/wal-segment.ts'
import type { ArchivedFile } from './archive-pieces.ts'

/**
 * Commit times that verify records, because it reads all WAL: those of segments that were archived without them. A
 * repository that can only be read stays as it is.
 */
export class MissingTimes {
  readonly #archive: TimesArchive
  readonly #writer: TimesWriter
  #known: Promise<RecordedTimes> | undefined

  constructor(archive: TimesArchive) {
    this.#archive = archive
    this.#writer = new TimesWriter(archive)
  }

  /** The segments without a complete record. */
  async among(files: readonly ArchivedFile[]): Promise<ReadonlySet<WalSegment>> {
    const known = await (this.#known ??= RecordedTimes.load(this.#archive))
    return known.missing(
      files.filter(({ partial }) => !partial).map(({ segment }) => segment),
      true,
    )
  }

  add(scanned: ScannedSegment): void {
    this.#writer.add(scanned)
  }

  async writeIfDue(): Promise<void> {
    await this.#writer.writeIfDue()
  }

  async end(log: Logger, archiveId: string): Promise<void> {
    await this.#writer.end((await this.#known)?.outdated ?? new Set())
    const { failure, recorded } = this.#writer
    if (recorded > 0) log.detail(`commit times of ${recorded} WAL segments of ${archiveId} were recorded`)
    if (failure !== undefined)
      log.detail(`cannot record the commit times of WAL of ${archiveId}: ${messageOf(failure)}`)
  }
}
