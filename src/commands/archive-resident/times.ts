import type { PushReport } from '../../core/archive/push/push-wal.ts'
import type { StoredTimes } from '../../core/archive/push/push-job.ts'
import { TimesRecorder } from '../../core/archive/push/times-recorder.ts'
import { takeUnscanned, type Unscanned } from '../../core/archive/resident/unscanned.ts'
import type { RecordJob } from '../../core/window/record-job.ts'
import { recordSegments } from '../../core/window/record.ts'
import { SegmentScan } from '../../core/window/segment-scan.ts'
import { openClusterFiles } from '../../postgres/registry.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import { messageOf } from '../../util/error.ts'
import { yieldToEventLoop } from '../../util/yield-to-event-loop.ts'
import type { CommandContext } from '../context.ts'

const CHUNK_BYTES = 256 * 1024

/** Records commit times in the resident process after its answers: of what it has pushed, and of what Node has pushed. */
export class ResidentTimes {
  readonly #ctx: CommandContext<'archive-push'>
  readonly #walPath: ByteString
  readonly #recorder: TimesRecorder
  #scanning: Promise<void> = Promise.resolve()

  constructor(ctx: CommandContext<'archive-push'>, walPath: ByteString) {
    this.#ctx = ctx
    this.#walPath = walPath
    this.#recorder = new TimesRecorder({
      stanza: ctx.stanza,
      write: async (jobs, signal) => void (await Promise.all(jobs.map((job) => this.#write(job, signal)))),
      signal: ctx.signal,
    })
  }

  pushed({ scanned, repositories }: PushReport): void {
    if (scanned !== undefined) this.#add({ scanned, archives: repositories })
  }

  /** To be called once a second. @param directory of the resident process */
  tick(directory: ByteString): void {
    try {
      for (const one of takeUnscanned(directory)) this.#scanning = this.#scanning.then(() => this.#scan(one))
    } catch (error) {
      this.#ctx.log.detail(`commit times stay unknown: ${messageOf(error)}`)
    }
    this.#recorder.writeIfDue(this.#ctx.clock.nowMs())
  }

  async end(): Promise<void> {
    await this.#scanning
    await this.#recorder.end()
  }

  #add(times: StoredTimes): void {
    const { segment } = times.scanned
    this.#recorder.stored(segment, times)
    this.#recorder.acknowledged(segment, this.#ctx.clock.nowMs())
  }

  async #write({ repoKey, ...job }: RecordJob, signal: AbortSignal): Promise<void> {
    const repository = (await this.#ctx.repositories()).find(({ key }) => key === repoKey)
    if (repository !== undefined) await recordSegments({ ...job, repository, log: this.#ctx.log, signal })
  }

  /** PostgreSQL removes segments, or overwrites them under another name: an incomplete scan is marked as such. */
  async #scan({ segment, archives }: Unscanned): Promise<void> {
    try {
      const files = await openClusterFiles({ kind: 'local' })
      const path = bytes`${this.#walPath}/${segment}`
      await using source = await files.open(path, { buffer: Buffer.allocUnsafeSlow(CHUNK_BYTES) })
      if (source === undefined) return
      const scan = new SegmentScan(segment)
      for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next()) {
        scan.push(chunk)
        await yieldToEventLoop()
      }
      const scanned = scan.result()
      if (scanned !== undefined) this.#add({ scanned, archives })
    } catch (error) {
      this.#ctx.log.detail(`the commit times of ${segment} are unknown: ${messageOf(error)}`)
    }
  }
}
