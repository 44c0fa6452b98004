import type { RecordJob } from '../../window/record-job.ts'
import type { ScannedSegment } from '../../window/segment-scan.ts'
import type { StoredTimes } from './push-job.ts'

export interface TimesRecorderRequest {
  readonly stanza: string
  /** Records times in the repositories; after a failure they stay unknown. */
  readonly write: (jobs: readonly RecordJob[], signal: AbortSignal) => Promise<void>
  readonly signal: AbortSignal
}

/** Records are written for several segments at once, after this time or for this many. */
const DELAY_MS = 10_000
const BATCH = 64
/** If `.ok` files cannot be written, what was scanned is dropped: its times stay unknown. */
const MOST_PENDING = 1024
const TIMEOUT_MS = 10_000

/**
 * Records the commit times of segments that a background process has archived, after success is reported. There is one
 * writer, so that no process of this host overwrites what another one has added.
 */
export class TimesRecorder {
  readonly #request: TimesRecorderRequest
  readonly #pending = new Map<string, StoredTimes[]>()
  #ready: StoredTimes[] = []
  #sinceMs = 0
  #running: Promise<void> | undefined

  constructor(request: TimesRecorderRequest) {
    this.#request = request
  }

  /** A segment is stored in some repositories. */
  stored(name: string, times: StoredTimes | undefined): void {
    if (times === undefined) return
    this.#pending.set(name, [...(this.#pending.get(name) ?? []), times])
    if (this.#pending.size > MOST_PENDING) this.#pending.delete(this.#pending.keys().next().value!)
  }

  /** PostgreSQL can read that the segment is archived. */
  acknowledged(name: string, nowMs: number): void {
    const times = this.#pending.get(name)
    if (times === undefined) return
    this.#pending.delete(name)
    if (this.#ready.length === 0) this.#sinceMs = nowMs
    this.#ready.push(...times)
  }

  /** Starts to write if it is time; does not wait. */
  writeIfDue(nowMs: number): void {
    const isDue = this.#ready.length >= BATCH || nowMs - this.#sinceMs >= DELAY_MS
    if (this.#ready.length > 0 && isDue && this.#running === undefined) this.#write()
  }

  /** Writes the rest, because the process ends. */
  async end(): Promise<void> {
    await this.#running
    if (this.#ready.length > 0) this.#write()
    await this.#running
  }

  #write(): void {
    const jobs = jobsOf(this.#request.stanza, this.#ready)
    this.#ready = []
    this.#running = this.#run(jobs).finally(() => (this.#running = undefined))
  }

  async #run(jobs: readonly RecordJob[]): Promise<void> {
    const { write, signal } = this.#request
    try {
      await write(jobs, AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]))
    } catch {
      // The segments stay without times.
    }
  }
}

function jobsOf(stanza: string, times: readonly StoredTimes[]): RecordJob[] {
  const jobs = new Map<string, { repoKey: number; archiveId: string; scanned: ScannedSegment[] }>()
  for (const { scanned, archives } of times) {
    for (const { repoKey, archiveId } of archives) {
      const key = `${repoKey} ${archiveId}`
      const job = jobs.get(key) ?? { repoKey, archiveId, scanned: [] }
      jobs.set(key, job)
      job.scanned.push(scanned)
    }
  }
  return [...jobs.values()].map((job) => ({ stanza, ...job }))
}
