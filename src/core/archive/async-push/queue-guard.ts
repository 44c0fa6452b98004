import type { Logger } from '../../../util/log.ts'
import { toPlainError } from '../../../util/error.ts'
import { droppedWarning, GAP_HINT, sizeText } from '../dropped.ts'
import type { SpoolPaths } from '../spool-files.ts'
import { dropQueue, queueLevel, type QueueLevel } from './queue-limit.ts'
import { readReadyQueue } from '../push/ready-queue.ts'

/** Keeps archive-push-queue-max, whatever the pushes are doing: warns, and then gives up all that waits. */
export class QueueGuard {
  readonly #spool: SpoolPaths
  readonly #walPath: string
  readonly #limit: number | undefined
  readonly #log: Logger
  #level: QueueLevel = 'calm'
  #announcement: string | undefined

  /** @param limit bytes; undefined: there is none */
  constructor(request: {
    readonly spool: SpoolPaths
    readonly walPath: string
    readonly queueMaxBytes: number | undefined
    readonly log: Logger
  }) {
    this.#spool = request.spool
    this.#walPath = request.walPath
    this.#limit = request.queueMaxBytes
    this.#log = request.log
  }

  /** Measure the queue. Answers the names of files that were given up now; never throws. */
  watch(): readonly string[] {
    const limit = this.#limit
    if (limit === undefined) return []
    try {
      const { waiting, waitingBytes } = readReadyQueue(this.#walPath, this.#spool.out)
      const before = this.#level
      this.#level = queueLevel(waitingBytes, limit, before)
      if (this.#level === 'warning' && before === 'calm') this.#warn(waiting.length, waitingBytes, limit)
      if (this.#level !== 'over') return []
      dropQueue(this.#spool, this.#walPath, waiting, limit)
      this.#level = 'calm'
      const [first, last] = [waiting[0] ?? '', waiting.at(-1) ?? '']
      this.#log.warn(
        `dropped ${waiting.length} WAL file(s) because archive queue exceeded ${sizeText(limit)}: ${first}...${last}\n${GAP_HINT}`,
      )
      for (const name of waiting) this.#log.detail({ file: name }, droppedWarning(name, limit))
      return waiting
    } catch (error) {
      this.#log.warn(`archive-push-queue-max cannot be kept: ${toPlainError(error).message}`)
      return []
    }
  }

  /** A warning that PostgreSQL shall hear with the next file, once. */
  takeAnnouncement(): string | undefined {
    const text = this.#announcement
    this.#announcement = undefined
    return text
  }

  #warn(files: number, bytes: number, limit: number): void {
    const percent = Math.floor((bytes / limit) * 100)
    this.#announcement =
      `${files} WAL files (${sizeText(bytes)}) wait to be archived, ${percent}% of archive-push-queue-max` +
      `\nHINT: beyond ${sizeText(limit)} all of them are dropped; pgts archiving is too slow or failing, see its log`
    this.#log.warn(this.#announcement)
  }
}
