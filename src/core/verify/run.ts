import type { Executor } from '../../worker/executor.ts'
import type { Logger } from '../../util/log.ts'
import type { jobHandlers } from '../jobs.ts'
import { loadMemory, saveMemory, type Proof, type VerifyMemory } from './memory.ts'
import { PartProgress, type Part } from './parts.ts'
import type { ProofJob, ProvenPiece } from './prove-stored.ts'
import type { StorageDriver } from '../../storage/driver.ts'

/** A part that is looked at when its turn comes, because to know what is in it costs a listing or a manifest. */
export interface PlannedPart {
  readonly key: string
  load(): Promise<Part>
}

export interface ProveRequest {
  readonly storage: StorageDriver
  readonly stanza: string
  readonly plan: readonly PlannedPart[]
  readonly executor: Executor<typeof jobHandlers>
  /** What was proven after this moment is not read again, milliseconds since the epoch. */
  readonly provenSinceMs?: number
  /** Begin nothing new after this moment; what was proven longest ago then comes first. */
  readonly deadlineMs?: number
  readonly nowMs: () => number
  readonly log: Logger
  readonly signal: AbortSignal
  /** Told of every piece that was read, with the key of its part. */
  readonly onPiece: (key: string, piece: ProvenPiece) => void
}

export interface ProveReport {
  readonly readBytes: number
  readonly skipped: { readonly recent: number; readonly late: number }
}

/** Read what is stored, in parallel, and remember what was proven for the next run. */
export async function provePlanned(request: ProveRequest): Promise<ProveReport> {
  const { storage, stanza, executor, signal, nowMs, log } = request
  const memory = new Map<string, Proof>(await loadMemory(storage, stanza, signal))
  const progress: PartProgress[] = []
  const skipped = { recent: 0, late: 0 }
  const skippedKeys = new Set<string>()
  const isLate = () => request.deadlineMs !== undefined && nowMs() >= request.deadlineMs

  async function* jobs(): AsyncGenerator<ProofJob> {
    for (const planned of inOrder(request, memory)) {
      const known = memory.get(planned.key)
      if (isLate()) {
        skipped.late++
        skippedKeys.add(planned.key)
        continue
      }
      const part = await planned.load()
      const same = known?.pieces === part.pieces ? known : undefined
      const { provenSinceMs } = request
      if (provenSinceMs !== undefined && same?.provenMs !== undefined && same.provenMs >= provenSinceMs) {
        skipped.recent++
        skippedKeys.add(planned.key)
        continue
      }
      const from = request.deadlineMs === undefined ? 0 : (same?.doneJobs ?? 0)
      const follow = new PartProgress(part, from)
      const group = progress.push(follow) - 1
      let index = 0
      let stopped = false
      for (const job of part.jobs()) {
        if (index >= from) {
          if ((stopped = isLate())) break
          yield { ...job, group, index }
        }
        index++
      }
      if (stopped) skipped.late++
      else follow.complete(index)
    }
  }

  let readBytes = 0
  let toldMs = nowMs()
  let rememberedMs = toldMs
  const remember = async () => {
    for (const part of progress) {
      const { key } = part.part
      const [proof, before] = [part.proof(nowMs()), memory.get(key)]
      if (proof === undefined) {
        if (part.faulty) memory.delete(key)
      } else if (proof.provenMs === undefined && before?.pieces === proof.pieces)
        memory.set(key, { ...before, ...proof })
      else memory.set(key, proof)
    }
    const planned = new Set(request.plan.map(({ key }) => key))
    // What has expired is forgotten.
    const kept = new Map([...memory].filter(([key]) => planned.has(key)))
    await saveMemory(storage, stanza, kept).catch((error: unknown) => {
      signal.throwIfAborted()
      log.warn(`what was proven cannot be remembered, so the next run reads it again: ${String(error)}`)
    })
  }
  try {
    for await (const { job, result } of executor.run('prove-stored', jobs(), { signal })) {
      const follow = progress[job.group]!
      for (const piece of result) {
        readBytes += piece.storedBytes
        if (piece.fault !== undefined) follow.faulty = true
        request.onPiece(follow.part.key, piece)
      }
      follow.proven(job.index)
      if (nowMs() - rememberedMs >= REMEMBER_EVERY_MS) {
        await remember()
        rememberedMs = nowMs()
      }
      if (nowMs() - toldMs >= TELL_EVERY_MS) {
        toldMs = nowMs()
        tell(log, request.plan, progress, skippedKeys, readBytes)
      }
    }
  } finally {
    // Also of a run that is interrupted: what it has read need not be read again.
    await remember()
  }
  return { readBytes, skipped }
}

const TELL_EVERY_MS = 10_000
/** What a run that is killed has to read again at most. */
const REMEMBER_EVERY_MS = 300_000

function tell(
  log: Logger,
  plan: readonly PlannedPart[],
  progress: readonly PartProgress[],
  skipped: ReadonlySet<string>,
  readBytes: number,
): void {
  const begun = progress.length + skipped.size
  log.info(`verify: part ${begun} of ${plan.length}, ${Math.round(readBytes / (1024 * 1024))} MiB read`)
}

/** With a deadline what was never proven comes first, then what was proven longest ago. */
function inOrder({ plan, deadlineMs }: ProveRequest, memory: VerifyMemory): readonly PlannedPart[] {
  if (deadlineMs === undefined) return plan
  const age = ({ key }: PlannedPart) => memory.get(key)?.provenMs ?? 0
  return plan.toSorted((a, b) => age(a) - age(b))
}
