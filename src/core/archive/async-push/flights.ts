import { fly, type FlightRequest, type Landing } from './flight.ts'
import type { RepositoryHealth } from './repository-health.ts'
import type { Assignment, WaitingFile } from './schedule.ts'

/** A file that a worker has. */
export interface InHand {
  readonly file: WaitingFile
  readonly sinceMs: number
}

export interface FlightsEvents {
  /** What a worker would be given now; asked often, and nothing follows from it. */
  next(): Assignment | undefined
  taken(): void
  landed(file: WaitingFile, landing: Landing): void
}

/**
 * Flights for each worker: one that has a file, and one that waits to be given the next as soon as the worker is done,
 * while this thread has yet to tell of the last. A worker with lanes has both under way.
 */
const FOR_EACH_WORKER = 2

/** The files that are on their way, and the flights that wait for a worker. */
export class Flights {
  readonly #request: FlightRequest
  readonly #health: RepositoryHealth
  readonly #events: FlightsEvents
  readonly #inHand = new Map<string, InHand>()
  #waiting = 0

  constructor(request: FlightRequest, health: RepositoryHealth, events: FlightsEvents) {
    this.#request = request
    this.#health = health
    this.#events = events
  }

  /** Files in hand. A flight that waits has none. */
  get size(): number {
    return this.#inHand.size
  }

  inHand(): Iterable<InHand> {
    return this.#inHand.values()
  }

  /** Have flights enough for what waits. A worker that is free has its file when this returns. */
  launch(): void {
    const most = FOR_EACH_WORKER * this.#request.executor.workers
    while (this.#inHand.size + this.#waiting < most && this.#events.next() !== undefined) this.#launchOne()
  }

  #launchOne(): void {
    let waits = true
    const waited = () => {
      if (waits) this.#waiting--
      waits = false
    }
    this.#waiting++
    const flight = fly(this.#request, {
      take: () => {
        waited()
        const assignment = this.#events.next()
        if (assignment !== undefined) this.#take(assignment)
        return assignment
      },
      landed: ({ file, repoKeys }, landing) => {
        file.inHand = false
        this.#inHand.delete(file.name)
        for (const key of repoKeys) this.#health.notTried(key)
        this.#events.landed(file, landing)
      },
    })
    void flight.then(waited)
  }

  #take({ file, repoKeys }: Assignment): void {
    file.inHand = true
    file.attempts++
    for (const key of repoKeys) this.#health.sent(key)
    this.#inHand.set(file.name, { file, sinceMs: this.#request.clock.nowMs() })
    this.#events.taken()
  }
}
