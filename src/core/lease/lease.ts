import type { StorageDriver } from '../../storage/driver.ts'
import type { Clock } from '../../util/clock.ts'
import { isPgtsError, PgtsError, toPlainError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { Repository } from '../repository.ts'
import { leaseName, serialiseLease, type HostPlace, type Lease } from './lease-file.ts'
import { clearLease, leaseOf, lookForLease, overwriteLease, type FoundLease } from './lease-store.ts'
import { howLong, isUnderOtherLockPath, lifeOf, STALE_MS, type Life } from './life.ts'

export type { HostPlace, Lease } from './lease-file.ts'
export { leaseOf, type FoundLease } from './lease-store.ts'
export { STALE_MS, type Life } from './life.ts'

export interface LeaseRequest {
  readonly repository: Repository
  readonly stanza: string
  readonly host: string
  readonly pid: number
  readonly command: string
  /** Unique for each run. */
  readonly token: string
  readonly place?: HostPlace
  readonly clock: Clock
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called when the lease was broken while it was held: to continue would disturb a second writer. */
  onLost(reason: PgtsError): void
}

/** Interval of the signs of life. Several must be missed before the holder counts as ended. */
const RENEW_MS = 60_000

/**
 * Hold the lease of a stanza in one repository until disposed: at most one command, of all hosts, changes the list of
 * backups. The caller holds the flocks of the stanza, so a lease of this very host can only be of a process that died.
 *
 * In a store that cannot create an object on the condition that it is absent the lease is written and read back.
 *
 * @throws PgtsError lock-acquire when another host holds it
 */
export async function takeLease(request: LeaseRequest): Promise<AsyncDisposable> {
  const { repository, stanza, host, pid, command, token, place, clock, log, signal } = request
  const { key, display, storage } = repository
  const nowMs = clock.nowMs()
  const own: Lease = {
    token,
    host,
    pid,
    command,
    sinceMs: nowMs,
    renewedMs: nowMs,
    place,
  }
  const bytes = serialiseLease(own)
  /** Does the store keep to the condition of the creation? Shown while the command goes on. */
  let prove: Prove = () => Promise.resolve(true)
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    // Before anything is written: a store that ignores the condition would replace the lease of another host.
    const { found, number, next } = await lookForLease(storage, stanza, signal)
    // Also the proof that no file with a higher number was written beside ours.
    if (found?.lease?.token === token) return new HeldLease(request, own, prove, number)
    const life = found === undefined ? 'dead' : lifeOf(found, place, clock.nowMs())
    if (found !== undefined && (life !== 'dead' || attempt === ATTEMPTS)) throw heldError(request, found, life)
    if (found !== undefined) {
      const { lease } = found
      log.info(
        { repo: key },
        `${display}: took over the lease of process ${lease?.pid} on this host (${lease?.command}), which is dead`,
      )
      await clearLease(storage, stanza, number, { signal })
    }
    const created = await create(storage, leaseName(stanza, next), bytes, signal)
    if (created === 'unsupported') {
      logUnconditional(request)
      await overwriteLease(storage, stanza, next, bytes, { signal })
      await clock.sleep(SETTLE_MS, signal)
    } else if (created === 'created') {
      prove = (released) => proven(request, bytes, next, released)
      if (next === 0) return new HeldLease(request, own, prove, next)
    }
  }
  throw new PgtsError('lock-acquire', `${display}: cannot take the lease: the store does not keep it`)
}

type Prove = (released: AbortSignal) => Promise<boolean>

/**
 * In a store without conditional creation two hosts may find no lease at the same time and write one each. The later one
 * replaces the earlier; after this wait both read which one stayed. It is longer than a host takes between its look and
 * its write; one that takes longer is found by the renewal of the other.
 */
const SETTLE_MS = 3_000

/** The holder may end, and others may take over, while this one looks. */
const ATTEMPTS = 5

async function create(
  storage: StorageDriver,
  name: string,
  bytes: Uint8Array,
  signal: AbortSignal,
): Promise<'created' | 'there' | 'unsupported'> {
  if (storage.createIfAbsent === undefined) return 'unsupported'
  try {
    return (await storage.createIfAbsent(name, bytes, { signal })) ? 'created' : 'there'
  } catch (error) {
    if (isPgtsError(error, 'feature-not-supported')) return 'unsupported'
    throw error
  }
}

/**
 * A second creation proves that the store keeps to the condition: some answer yes to everything. There the lease counts when
 * it is still ours after a while. The command goes on meanwhile. The bytes differ, so that one whose answer got lost is
 * not taken for the first.
 *
 * @returns false: another host has replaced the lease, and the command was notified
 */
async function proven(
  request: LeaseRequest,
  bytes: Uint8Array,
  number: number,
  released: AbortSignal,
): Promise<boolean> {
  const { repository, stanza, token, clock, signal } = request
  const { storage } = repository
  try {
    const again = Buffer.concat([bytes, Buffer.from('\n')])
    if ((await create(storage, leaseName(stanza, number), again, signal)) !== 'created') return true
    logUnconditional(request)
    await clock.sleep(SETTLE_MS, AbortSignal.any([signal, released]))
    const found = await leaseOf(storage, stanza, signal)
    if (found?.lease?.token === token) return true
    request.onLost(lostError(request, found))
    return false
  } catch {
    // The command was interrupted or has ended, or is about to meet the same failure of the store.
    return true
  }
}

function logUnconditional({ repository: { key, display, storage }, log }: LeaseRequest): void {
  log.detail(
    { repo: key },
    `${display}: ${storage.display} cannot create a file on the condition that it is absent, so the lease is written ` +
      `and read back after ${howLong(SETTLE_MS)}`,
  )
}

class HeldLease implements AsyncDisposable {
  readonly #request: LeaseRequest
  readonly #own: Lease
  readonly #released = new AbortController()
  /** false: it was never ours alone. */
  readonly #proven: Promise<boolean>
  readonly #beating: Promise<void>
  readonly #number: number

  /** @param number of its file */
  constructor(request: LeaseRequest, own: Lease, prove: Prove, number: number) {
    this.#number = number
    this.#request = request
    this.#own = own
    this.#proven = prove(this.#released.signal)
    this.#beating = this.#beat()
  }

  async #beat(): Promise<void> {
    const { clock } = this.#request
    const { signal } = this.#released
    if (!(await this.#proven) || signal.aborted) return
    for (;;) {
      try {
        await clock.sleep(RENEW_MS, signal)
      } catch {
        return
      }
      if (signal.aborted || !(await this.#renew())) return
    }
  }

  /** false: it is not ours any more. */
  async #renew(): Promise<boolean> {
    const { repository, stanza, clock, log } = this.#request
    const { key, display, storage } = repository
    const { signal } = this.#released
    try {
      const found = await leaseOf(storage, stanza, signal)
      if (found?.lease?.token !== this.#own.token) {
        this.#request.onLost(lostError(this.#request, found))
        return false
      }
      const renewed = serialiseLease({ ...this.#own, renewedMs: clock.nowMs() })
      await overwriteLease(storage, stanza, this.#number, renewed, { signal })
    } catch (error) {
      // The command's own requests show more about the store, and the next sign of life follows.
      if (!signal.aborted)
        log.detail({ repo: key }, `${display}: cannot renew the lease: ${toPlainError(error).message}`)
    }
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { repository, stanza, log } = this.#request
    const { key, display, storage } = repository
    this.#released.abort()
    await this.#beating
    if (!(await this.#proven)) return
    try {
      // An interrupted renewal may not have arrived; a foreign lease is not ours to remove.
      const found = await leaseOf(storage, stanza)
      if (found?.lease?.token === this.#own.token) await clearLease(storage, stanza, this.#number)
    } catch (error) {
      log.warn(
        { repo: key },
        `${display}: cannot give back the lease: ${toPlainError(error).message}` +
          `\nHINT: the next command on this host takes it over; others need 'pgts --stanza=${stanza} lease --break'`,
      )
    }
  }
}

function heldError({ repository, stanza, clock, place }: LeaseRequest, found: FoundLease, life: Life): PgtsError {
  const breakIt = `pgts --stanza=${stanza} lease --repo=${repository.key} --break`
  const hints =
    life === 'alive'
      ? [
          'it works on this stanza: wait for it to end',
          `when it is dead for sure, wait until it has given no sign of life for ${howLong(STALE_MS)}, ` +
            `and break its lease by hand: ${breakIt}`,
        ]
      : [
          `nothing was heard of it for ${howLong(STALE_MS)} or longer: see whether it still runs on that host`,
          `when it is dead for sure, break its lease by hand: ${breakIt}`,
        ]
  if (isUnderOtherLockPath(found.lease?.place, place))
    hints.push('it is a process of this very host, with another lock-path: use one lock-path for a stanza')
  return new PgtsError('lock-acquire', `${repository.display} is in use: ${describeLease(found, clock.nowMs())}`, {
    hints,
  })
}

function lostError({ repository, clock }: LeaseRequest, found: FoundLease | undefined): PgtsError {
  const now = found === undefined ? 'it is gone' : describeLease(found, clock.nowMs())
  return new PgtsError(
    'lock-acquire',
    `the lease of this command in ${repository.display} was broken by somebody: ${now}`,
    {
      hints: ['this command stops, so that two do not write at once; run it again when the other one has ended'],
    },
  )
}

/** `host db2 (process 4711, backup) holds the lease since 2026-11-22T18:00:00Z, last sign of life 12 seconds ago`. */
export function describeLease({ lease, lastSignMs }: FoundLease, nowMs: number): string {
  const ago = `last sign of life ${howLong(nowMs - lastSignMs)} ago`
  if (lease === undefined) return `a lease is held that this version of pgts cannot read, ${ago}`
  const since = new Date(lease.sinceMs).toISOString().replace(/\.\d+Z$/, 'Z')
  return `host ${lease.host} (process ${lease.pid}, ${lease.command}) holds the lease since ${since}, ${ago}`
}

/**
 * Remove the lease of a holder that is dead: the decision of a person. A holder that gave a sign of life lately is
 * protected unless `force`.
 *
 * @returns what was removed; undefined: there was none
 * @throws PgtsError lock-acquire
 */
export async function breakLease(
  storage: StorageDriver,
  stanza: string,
  options: { readonly force: boolean; readonly nowMs: number; readonly signal: AbortSignal },
): Promise<FoundLease | undefined> {
  const { force, nowMs, signal } = options
  const { found, number } = await lookForLease(storage, stanza, signal)
  if (found === undefined) return undefined
  if (!force && lifeOf(found, undefined, nowMs) === 'alive') {
    throw new PgtsError('lock-acquire', `the lease is not broken: ${describeLease(found, nowMs)}`, {
      hints: [
        `it may be broken when there was no sign of life for ${howLong(STALE_MS)}`,
        'where it is certain that the process is dead, use --force; a process that lives notices within a minute, and stops',
      ],
    })
  }
  await clearLease(storage, stanza, number, { signal })
  return found
}
