import type { Executor } from '../../worker/executor.ts'
import { messageOf } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { jobHandlers } from '../jobs.ts'
import type { Repository } from '../repository.ts'
import type { ScannedSegment } from '../window/segment-scan.ts'
import { loadMemory, saveMemory, type Proof, type VerifyMemory } from './memory.ts'
import { PartProgress, type Part } from './parts.ts'
import type { ProofJob } from './prove-stored.ts'
import type { FaultyFile } from './report.ts'

/** A part that is loaded when it is reached: loading costs a listing or a manifest. */
export interface PlannedPart {
  readonly key: string
  /** Stored bytes, as far as they are known before it is loaded. */
  readonly bytes: number
  load(): Promise<Part>
}

export interface ProveRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly plan: readonly PlannedPart[]
  readonly executor: Executor<typeof jobHandlers>
  /** Parts that were verified after this time are not read again, milliseconds since the epoch. */
  readonly provenSinceMs?: number
  /** No new job begins after this time; parts that were verified longest ago are first. */
  readonly deadlineMs?: number
  readonly nowMs: () => number
  readonly log: Logger
  readonly signal: AbortSignal
  readonly read?: (doneBytes: number, totalBytes: number) => void
  /** Called with the pieces of a part that were read, by the key of the part; the next result waits for it. */
  readonly onRead: (key: string, pieces: number, found: ReadResult) => Promise<void>
}

export interface ReadResult {
  readonly faulty: readonly FaultyFile[]
  /** Commit times, if they were requested. */
  readonly scanned: readonly ScannedSegment[]
}

export interface ProveReport {
  readonly readBytes: number
  readonly skipped: { readonly recent: number; readonly late: number }
}

/** Verifies the planned parts in parallel, and records the result for the next run. */
export async function provePlanned(request: ProveRequest): Promise<ProveReport> {
  const { repository, stanza, executor, signal, nowMs, onRead } = request
  const memory = new Map<string, Proof>(await loadMemory(repository.storage, stanza, signal))
  const run = new ProveRun(request, memory)
  let readBytes = 0
  let loggedMs = nowMs()
  let rememberedMs = loggedMs
  try {
    for await (const { job, result } of executor.run('prove-stored', run.jobs(), { signal })) {
      const progress = run.progressOf(job)
      const { part } = progress
      const faulty = result.faults.map(({ piece, fault, reason }): FaultyFile => {
        const { name, repoName } = part.pieceAt(job.first + piece)
        return { name, repoName, fault, reason }
      })
      if (faulty.length > 0) progress.faulty = true
      readBytes += result.storedBytes
      request.read?.(readBytes, run.totalBytes)
      progress.verified(job)
      await onRead(part.key, job.pieces, { faulty, scanned: result.scanned })
      if (nowMs() - rememberedMs >= REMEMBER_EVERY_MS) {
        await run.remember()
        rememberedMs = nowMs()
      }
      if (nowMs() - loggedMs >= LOG_EVERY_MS) {
        loggedMs = nowMs()
        run.logProgress(readBytes)
      }
    }
  } finally {
    // Also after an interruption, so that the next run does not read verified parts again.
    await run.remember()
  }
  return { readBytes, skipped: run.skipped }
}

const LOG_EVERY_MS = 10_000
/** Limits how much must be read again after the process was killed. */
const REMEMBER_EVERY_MS = 300_000

/** Decides which parts are read in this run, and what is recorded. */
class ProveRun {
  readonly skipped = { recent: 0, late: 0 }
  /** Stored bytes of the parts that are not skipped. */
  totalBytes: number
  readonly #request: ProveRequest
  readonly #memory: Map<string, Proof>
  /** Parts with at least one started job; `group` of a job is an index into it. */
  readonly #begun: PartProgress[] = []
  /** Number of parts skipped completely. */
  #skippedParts = 0

  constructor(request: ProveRequest, memory: Map<string, Proof>) {
    this.#request = request
    this.#memory = memory
    this.totalBytes = request.plan.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  progressOf({ group }: ProofJob): PartProgress {
    return this.#begun[group]!
  }

  async *jobs(): AsyncGenerator<ProofJob> {
    for (const planned of inOrder(this.#request, this.#memory)) {
      if (this.#isLate()) {
        this.#skip('late', planned)
        continue
      }
      const part = await planned.load()
      const known = this.#memory.get(planned.key)
      const proof = known?.pieces === part.pieces ? known : undefined
      if (this.#isRecent(proof)) this.#skip('recent', planned)
      else yield* this.#jobsOf(part, proof)
    }
  }

  *#jobsOf(part: Part, proof: Proof | undefined): Generator<ProofJob> {
    const from = this.#request.deadlineMs === undefined ? 0 : (proof?.donePieces ?? 0)
    const { key: repoKey } = this.#request.repository
    const group = this.#begun.push(new PartProgress(part, from)) - 1
    for (const job of part.jobs(from)) {
      if (this.#isLate()) {
        this.skipped.late++
        return
      }
      yield { ...job, repoKey, group }
    }
  }

  #isLate(): boolean {
    const { deadlineMs, nowMs } = this.#request
    return deadlineMs !== undefined && nowMs() >= deadlineMs
  }

  #isRecent(proof: Proof | undefined): boolean {
    const { provenSinceMs } = this.#request
    return provenSinceMs !== undefined && proof?.provenMs !== undefined && proof.provenMs >= provenSinceMs
  }

  #skip(reason: 'recent' | 'late', { bytes }: PlannedPart): void {
    this.skipped[reason]++
    this.totalBytes -= bytes
    this.#skippedParts++
  }

  async remember(): Promise<void> {
    const { repository, stanza, plan, nowMs, log, signal } = this.#request
    const memory = this.#memory
    for (const part of this.#begun) {
      const { key } = part.part
      const [proof, prior] = [part.proof(nowMs()), memory.get(key)]
      if (proof === undefined) {
        if (part.faulty) memory.delete(key)
      } else if (proof.provenMs === undefined && prior?.pieces === proof.pieces) memory.set(key, { ...prior, ...proof })
      else memory.set(key, proof)
    }
    // A part that is no longer planned has expired.
    const planned = new Set(plan.map(({ key }) => key))
    const kept = new Map([...memory].filter(([key]) => planned.has(key)))
    await saveMemory(repository.storage, stanza, kept).catch((error: unknown) => {
      signal.throwIfAborted()
      log.warn(`cannot save the results for the next run, which reads everything again: ${messageOf(error)}`)
    })
  }

  logProgress(readBytes: number): void {
    const { log, plan } = this.#request
    const reached = this.#begun.length + this.#skippedParts
    log.info(`verify: part ${reached} of ${plan.length}, ${Math.round(readBytes / (1024 * 1024))} MiB read`)
  }
}

/** With a deadline, parts that were never verified are first, then those verified longest ago. */
function inOrder({ plan, deadlineMs }: ProveRequest, memory: VerifyMemory): readonly PlannedPart[] {
  if (deadlineMs === undefined) return plan
  const age = ({ key }: PlannedPart) => memory.get(key)?.provenMs ?? 0
  return plan.toSorted((a, b) => age(a) - age(b))
}
