import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Assignment, PushEffect } from '../../src/core/archive/push/push-effect.ts'
import type { PushJobResult } from '../../src/core/archive/push/push-job.ts'
import { PushQueue } from '../../src/core/archive/push/push-queue.ts'
import { hangResult } from '../../src/core/archive/push/push-slots.ts'
import { inArchiveOrder, type ReadyQueue } from '../../src/core/archive/push/ready-queue.ts'
import { PgtsError, toPlainError } from '../../src/util/error.ts'

/**
 * The state machine of the background archive-push against a model of its surroundings: PostgreSQL with its `.ready`
 * files, two repositories, a spool, workers and a clock. The model carries out the effects and checks each of them.
 */
const SEGMENT_BYTES = 16
const LIMIT_BYTES = 40 * SEGMENT_BYTES
const BATCH_BYTES = 3 * SEGMENT_BYTES
const KEYS = [1, 2]
const RUNS = Number(process.env['PGTS_TEST_RUNS'] ?? 100)
const WORKERS = 4

/** A file that is replaced by another one of its name has the next version, which is its modification time. */
type Version = bigint

interface Running {
  readonly assignment: Assignment
  readonly version: Version | undefined
}

class Surroundings {
  nowMs = 1_000_000
  /** `.ready` files. */
  readonly ready = new Map<string, Version>()
  /** `.ok` files, by name. */
  readonly oks = new Map<string, Version>()
  readonly errors = new Set<string>()
  readonly stored = new Map(KEYS.map((key) => [key, new Set<string>()]))
  spoolTakes = true
  running: Running[] = []
  startedBytes = 0
  lastVersion = 0n
  readonly queue = new PushQueue({
    repoKeys: KEYS,
    queueMaxBytes: LIMIT_BYTES,
    batchBytes: BATCH_BYTES,
    before: undefined,
    nowMs: 1_000_000,
    random: () => 1,
  })

  read(): ReadyQueue {
    const waiting = [...this.ready.keys()].filter((name) => !this.oks.has(name)).sort(inArchiveOrder)
    return {
      waiting,
      acknowledged: [...this.ready.keys()].filter((name) => this.oks.has(name)),
      served: [...this.oks.keys()].filter((name) => !this.ready.has(name)),
      waitingBytes: waiting.length * SEGMENT_BYTES,
      segmentBytes: waiting.length === 0 ? 0 : SEGMENT_BYTES,
    }
  }

  apply(effects: readonly PushEffect[]): void {
    for (const effect of effects) this.#carryOut(effect)
  }

  #carryOut(effect: PushEffect): void {
    switch (effect.kind) {
      case 'write-ok': {
        const { name, stored } = effect
        for (const key of KEYS)
          expect(this.stored.get(key), `an .ok for what repo${key} does not have`).toContain(
            `${name}@${stored.mtimeNs}`,
          )
        if (!this.spoolTakes) return this.apply(this.queue.okNotWritten(name, 'no space'))
        this.oks.set(name, stored.mtimeNs)
        this.errors.delete(name)
        return this.queue.okWritten(name)
      }
      case 'write-error':
        expect(this.oks.has(effect.name), 'an .error for a file that has its .ok').toBe(false)
        return void this.errors.add(effect.name)
      case 'remove-ok':
        expect(this.ready.has(effect.name), 'an .ok is removed that PostgreSQL has not read').toBe(false)
        return void this.oks.delete(effect.name)
      case 'drop':
        expect(effect.names.length * SEGMENT_BYTES, 'files are dropped within the limit').toBeGreaterThan(LIMIT_BYTES)
        if (!this.spoolTakes) return
        for (const name of effect.names) this.oks.set(name, this.ready.get(name) ?? 0n)
        return this.apply(this.queue.dropped(effect.names, this.nowMs))
      case 'log':
      case 'write-status':
    }
  }

  look(): void {
    this.apply(this.queue.oksToWrite())
    if (!this.queue.wantsReading(this.nowMs)) return
    this.startedBytes = 0
    this.apply(this.queue.found(this.read(), this.nowMs, this.nowMs))
  }

  start(): void {
    while (this.running.length < WORKERS) {
      const assignment = this.queue.next(this.nowMs)
      if (assignment === undefined) return
      const { name } = assignment.file
      expect(
        this.running.map((one) => one.assignment.file.name),
        'two workers have one file',
      ).not.toContain(name)
      expect(assignment.repoKeys).not.toEqual([])
      this.queue.started(assignment, this.nowMs)
      this.startedBytes += SEGMENT_BYTES
      expect(this.startedBytes, 'more was started than the batch').toBeLessThanOrEqual(BATCH_BYTES)
      this.running.push({ assignment, version: this.ready.get(name) })
    }
  }

  finish(index: number, outcome: Outcome): void {
    const [one] = this.running.splice(index % this.running.length, 1)
    if (one === undefined) return
    const { name } = one.assignment.file
    this.apply(this.queue.finished(name, this.#resultOf(one, outcome), this.nowMs))
  }

  #resultOf({ assignment, version }: Running, { kind, failing }: Outcome): PushJobResult | undefined {
    const { file, repoKeys } = assignment
    const error = new PgtsError('host-connect', 'no answer')
    if (kind === 'cancelled') return undefined
    if (kind === 'hung') {
      const stuck = repoKeys.filter((key) => failing.includes(key))
      return hangResult(file.name, stuck, 1000)
    }
    const none = { stored: [], failures: [], sizeBytes: SEGMENT_BYTES, warnings: [] }
    if (kind === 'failed' || version === undefined) return { ...none, refused: toPlainError(error) }
    if (kind === 'refused') return { ...none, mtimeNs: version, refused: toPlainError(error) }
    const stored = repoKeys.filter((key) => !failing.includes(key))
    for (const key of stored) this.stored.get(key)?.add(`${file.name}@${version}`)
    const failures = repoKeys
      .filter((key) => failing.includes(key))
      .map((repoKey) => ({ repoKey, error: toPlainError(error) }))
    return { ...none, mtimeNs: version, stored, failures }
  }

  /** The loop of the background process from here on: it sleeps for the time that the queue returns. */
  runLoop(outcomeOf: (name: string) => Outcome, isDone: () => boolean, limitMs: number): void {
    const untilMs = this.nowMs + limitMs
    while (!isDone()) {
      if (this.nowMs > untilMs) throw new Error(`not done in time: ${JSON.stringify(this.queue.status(this.nowMs))}`)
      this.look()
      this.start()
      if (this.running.length > 0) {
        // A push takes time, so that a file that is retried without a pause reaches the limit.
        this.nowMs++
        this.finish(0, outcomeOf(this.running[0]!.assignment.file.name))
      }
      // A notification would come when a push ends; without one the pause has to be enough.
      else this.nowMs += Math.max(1, Math.min(1000, this.queue.pauseMs(this.nowMs)))
    }
  }

  /** Waiting files of which this repository has no version. */
  lacking(key: number): string[] {
    const names = new Set([...this.stored.get(key)!].map((one) => one.split('@')[0]))
    return this.read().waiting.filter((name) => !names.has(name))
  }
}

interface Outcome {
  readonly kind: 'stored' | 'refused' | 'hung' | 'failed' | 'cancelled'
  readonly failing: readonly number[]
}

const ALL_STORED: Outcome = { kind: 'stored', failing: [] }

type Step = fc.Command<object, Surroundings>
const step = (
  text: string,
  run: (real: Surroundings) => void,
  check: (real: Surroundings) => boolean = () => true,
): Step => ({
  check: () => true,
  run: (_, real) => check(real) && run(real),
  toString: () => text,
})

const segmentNames = Array.from(
  { length: 50 },
  (_, n) => `0000000100000000000000${(n + 1).toString(16).toUpperCase().padStart(2, '0')}`,
)
const name = fc.constantFrom('00000002.history', ...segmentNames)
const outcome: fc.Arbitrary<Outcome> = fc.record({
  kind: fc.constantFrom('stored', 'stored', 'stored', 'refused', 'hung', 'failed', 'cancelled'),
  failing: fc.subarray(KEYS),
})

const steps = [
  fc.array(name, { minLength: 1, maxLength: 30 }).map((names) =>
    step(`ready ${names.join(' ')}`, (real) => {
      for (const one of names) if (!real.ready.has(one)) real.ready.set(one, ++real.lastVersion)
    }),
  ),
  // For PostgreSQL the file is archived: by an `.ok`, or by a call that pushed the file itself.
  name.map((one) => step(`archived ${one}`, (real) => void real.ready.delete(one))),
  // A waiting file is replaced by another one of its name.
  fc.nat(50).map((index) =>
    step(`replace ${index}`, (real) => {
      const { waiting } = real.read()
      const one = waiting[index % waiting.length]
      if (one !== undefined) real.ready.set(one, ++real.lastVersion)
    }),
  ),
  // A call removes an `.ok` of an earlier file with the same name.
  name.map((one) =>
    step(`call for ${one}`, (real) => {
      if (real.ready.has(one) && real.oks.has(one) && real.oks.get(one) !== real.ready.get(one)) real.oks.delete(one)
    }),
  ),
  fc.constant(step('look', (real) => real.look())),
  fc.constant(step('start', (real) => real.start())),
  fc.tuple(fc.nat(WORKERS), outcome).map(([index, how]) =>
    step(
      `finish ${index} ${how.kind} ${how.failing.join()}`,
      (real) => real.finish(index, how),
      (real) => real.running.length > 0,
    ),
  ),
  fc.integer({ min: 1, max: 40_000 }).map((ms) => step(`wait ${ms}`, (real) => void (real.nowMs += ms))),
  fc.constant(step('asked', (real) => real.queue.asked(real.nowMs))),
  fc.boolean().map((takes) => step(`spool takes: ${takes}`, (real) => void (real.spoolTakes = takes))),
  fc.constant(
    step('unreadable', (real) => {
      real.startedBytes = 0
      real.apply(real.queue.unreadable('EIO', real.nowMs))
    }),
  ),
  fc.constant(
    step('measure', (real) => {
      real.apply(real.queue.measured(real.read()))
      if (real.spoolTakes) expect(real.read().waitingBytes, 'beyond the limit').toBeLessThanOrEqual(LIMIT_BYTES)
    }),
  ),
]

const anyRun = fc.commands(steps, { maxCommands: 80, size: 'max' })

function after(commands: Iterable<Step>, then: (real: Surroundings) => void): void {
  const real = new Surroundings()
  fc.modelRun(() => ({ model: {}, real }), commands)
  real.spoolTakes = true
  then(real)
}

test('acknowledges only files that every repository has, and no file is forgotten once everything works', () => {
  fc.assert(
    fc.property(anyRun, (commands) =>
      after(commands, (real) => {
        const isDone = () => real.read().waiting.length === 0 && real.running.length === 0
        real.runLoop(() => ALL_STORED, isDone, 90_000)
      }),
    ),
    { numRuns: RUNS },
  )
})

test('stores every file in the repository that works while the other one fails, and catches up afterwards', () => {
  fc.assert(
    fc.property(anyRun, (commands) =>
      after(commands, (real) => {
        real.runLoop(
          () => ({ kind: 'stored', failing: [2] }),
          () => real.lacking(1).length === 0,
          90_000,
        )
        real.runLoop(
          () => ALL_STORED,
          () => real.read().waiting.length === 0,
          90_000,
        )
      }),
    ),
    { numRuns: RUNS },
  )
})

test('files that no push can store keep no other file waiting', () => {
  const kinds = fc.constantFrom('refused', 'hung', 'failed')
  fc.assert(
    fc.property(anyRun, fc.uniqueArray(name, { maxLength: 5 }), kinds, (commands, torn, kind) =>
      after(commands, (real) => {
        const others = () => real.read().waiting.filter((one) => !torn.includes(one))
        real.runLoop(
          (one) => (torn.includes(one) ? { kind, failing: [] } : ALL_STORED),
          () => others().length === 0,
          90_000,
        )
      }),
    ),
    { numRuns: RUNS },
  )
})

test('starts no file after the configuration has changed, and still acknowledges those that workers have', () => {
  fc.assert(
    fc.property(anyRun, (commands) =>
      after(commands, (real) => {
        const started = real.running.map(({ assignment, version }) => `${assignment.file.name}@${version}`)
        real.queue.end()
        real.look()
        expect(real.queue.next(real.nowMs)).toBeUndefined()
        while (real.running.length > 0) real.finish(0, ALL_STORED)
        for (const one of real.read().waiting) {
          const complete = KEYS.every((key) => real.stored.get(key)!.has(`${one}@${real.ready.get(one)}`))
          if (started.includes(`${one}@${real.ready.get(one)}`)) expect(complete).toBe(false)
        }
      }),
    ),
    { numRuns: RUNS },
  )
})
