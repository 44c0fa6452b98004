import { statSync } from 'node:fs'
import { bytes, bytesToText, pathOf, type ByteString } from '../../../util/byte-string.ts'
import { writeOk, type SpoolPaths } from '../spool/spool-files.ts'
import { logEffect, type PushEffect } from './push-effect.ts'
import type { ReadyQueue } from './ready-queue.ts'

/** How a push ended that has not failed. */
export interface PushOutcome {
  /** The warning, if the file was dropped. */
  readonly dropped?: string
}

/** Parts of archive-push-queue-max: a warning is logged from the first on, and again after the queue was below the second. */
const WARN_AT = 0.75
const CALM_AT = 0.5

export type QueueLevel = 'calm' | 'warning' | 'over'

/** A queue with exactly the size of the limit is not over it. */
export function queueLevel(bytes: number, limitBytes: number, before: QueueLevel): QueueLevel {
  if (bytes > limitBytes) return 'over'
  if (bytes >= limitBytes * WARN_AT) return 'warning'
  return before !== 'calm' && bytes >= limitBytes * CALM_AT ? 'warning' : 'calm'
}

/** archive-push-queue-max: warns first, then drops all waiting files. Pure, part of `PushQueue`. */
export class QueueLimit {
  readonly #limitBytes: number | undefined
  #level: QueueLevel = 'calm'
  #announcement: string | undefined

  /** @param limitBytes undefined: the queue may have any length */
  constructor(limitBytes: number | undefined) {
    this.#limitBytes = limitBytes
  }

  measured({ waiting, waitingBytes }: Pick<ReadyQueue, 'waiting' | 'waitingBytes'>): PushEffect[] {
    const limitBytes = this.#limitBytes
    if (limitBytes === undefined) return []
    const before = this.#level
    this.#level = queueLevel(waitingBytes, limitBytes, before)
    if (this.#level === 'over') return [{ kind: 'drop', names: waiting, limitBytes }]
    if (this.#level === 'calm' || before !== 'calm') return []
    const percent = Math.floor((waitingBytes / limitBytes) * 100)
    this.#announcement =
      `${waiting.length} WAL files (${sizeText(waitingBytes)}) wait to be archived, ${percent}% of archive-push-queue-max` +
      `\nHINT: beyond ${sizeText(limitBytes)} all of them are dropped; pgts archiving is too slow or failing, see its log`
    return [logEffect('warn', this.#announcement)]
  }

  dropped(names: readonly ByteString[]): PushEffect[] {
    this.#level = 'calm'
    const [first, last, limitBytes] = [names[0], names.at(-1), this.#limitBytes]
    if (first === undefined || last === undefined || limitBytes === undefined) return []
    const range = bytesToText(bytes`${first}...${last}`)
    const message = `dropped ${names.length} WAL file(s) because archive queue exceeded ${sizeText(limitBytes)}: ${range}`
    return [
      logEffect('warn', `${message}\n${GAP_HINT}`),
      ...names.map((name) => logEffect('detail', droppedWarning(name, limitBytes), name)),
    ]
  }

  /** The warning for PostgreSQL's log, once. */
  takeAnnouncement(): readonly string[] {
    const announcement = this.#announcement
    this.#announcement = undefined
    return announcement === undefined ? [] : [announcement]
  }
}

/** Drop all waiting files: write an `.ok` with a warning for each. A gap in the archive is better than a full disk. */
export function dropQueue(
  spool: SpoolPaths,
  walPath: string,
  waiting: readonly ByteString[],
  limitBytes: number,
): void {
  for (const name of waiting) {
    const mtimeNs = statSync(pathOf(bytes`${walPath}/${name}`), { bigint: true, throwIfNoEntry: false })?.mtimeNs ?? 0n
    writeOk(spool, spool.out, name, { mtimeNs, warning: droppedWarning(name, limitBytes) })
  }
}

/** pgBackRest's wording, which monitoring looks for. */
export function droppedWarning(name: ByteString, limitBytes: number): string {
  return `dropped WAL file '${bytesToText(name)}' because archive queue exceeded ${sizeText(limitBytes)}`
}

export const GAP_HINT =
  'HINT: point-in-time recovery cannot pass this gap: make archiving work again and take a new backup'

/** In the unit of the configuration that divides it: `16MiB`. */
export function sizeText(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  for (; unit < units.length - 1 && bytes >= 1024 && bytes % 1024 === 0; unit++) bytes /= 1024
  return `${bytes}${units[unit]}`
}
