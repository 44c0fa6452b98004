import type { StorageDriver } from '../../storage/driver.ts'
import type { Clock } from '../../util/clock.ts'
import { isPgtsError, messageOf, PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { Repository } from '../repository.ts'
import { leaseName, serialiseLease, type HostPlace, type Lease } from './lease-file.ts'
import {
  clearLease,
  holdsLease,
  leaseOf,
  lookForLease,
  overwriteLease,
  type FoundLease,
  type LeaseState,
} from './lease-store.ts'
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
  /** The result of `lookForLease`, if it was requested before; nothing of this command was written since. */
  readonly looked?: Promise<LeaseState>
  /** Called when the lease was broken while it was held: continuing would conflict with another writer. */
  onLost(reason: PgtsError): void
}

/** Interval of renewals. The holder is considered dead only after several missed renewals. */
export const RENEW_MS = 60_000

/**
 * Holds the lease of a stanza in one repository until disposed, so that at most one command on all hosts changes the
 * list of backups. The caller holds the flocks of the stanza, so a lease of this host can only belong to a dead
 * process.
 *
 * If the store cannot create an object on the condition that it is absent, the lease is written and read back.
 *
 * @throws PgtsError lock-acquire if another host holds it
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
  /** Checks, while the command runs, that the store really enforces the condition of the creation. */
  let prove: Prove = () => Promise.resolve(true)
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    // Checked before anything is written: a store that ignores the condition would replace the lease of another host.
    const looked = attempt === 1 ? request.looked : undefined
    const { found, number, next } = await (looked ?? lookForLease(storage, stanza, signal))
    // Also confirms that no file with a higher number was created at the same time.
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
      await clock.sleep(READ_BACK_WAIT_MS, signal)
    } else if (created === 'created') {
      prove = (released) => proven(request, bytes, next, released)
      if (next === 0) return new HeldLease(request, own, prove, next)
    }
  }
  throw new PgtsError(
    'lock-acquire',
    `${display}: cannot take the lease: the store returns another lease than was written`,
  )
}

type Prove = (released: AbortSignal) => Promise<boolean>

/**
 * In a store without conditional creation two hosts may find no lease at the same time and write one each. The later
 * one replaces the earlier; after this wait both read which one is stored. The wait is longer than the time between a
 * host's check and its write; if a host takes longer, the next renewal of the other one detects it.
 */
export const READ_BACK_WAIT_MS = 3_000

/** While this host checks, the holder may end, and other hosts may take the lease. */
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
 * Verifies by a second creation that the store enforces the condition: some stores accept every creation. With such a
 * store the lease is valid if it is still ours after a wait, while the command continues. The bytes differ from the
 * first creation, so that a repeated request with a lost answer is not mistaken for it.
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
    await clock.sleep(READ_BACK_WAIT_MS, AbortSignal.any([signal, released]))
    const found = await leaseOf(storage, stanza, signal)
    if (found?.lease?.token === token) return true
    request.onLost(lostError(request, found))
    return false
  } catch {
    // The command was interrupted or has ended, or its next request will meet the same failure of the store.
    return true
  }
}

function logUnconditional({ repository: { key, display, storage }, log }: LeaseRequest): void {
  log.detail(
    { repo: key },
    `${display}: ${storage.display} cannot create a file on the condition that it is absent, so the lease is written ` +
      `and read back after ${howLong(READ_BACK_WAIT_MS)}`,
  )
}

class HeldLease implements AsyncDisposable {
  readonly #request: LeaseRequest
  readonly #own: Lease
  readonly #released = new AbortController()
  /** false: another host holds the lease. */
  readonly #proven: Promise<boolean>
  readonly #renewing: Promise<void>
  readonly #number: number

  /** @param number of the lease file */
  constructor(request: LeaseRequest, own: Lease, prove: Prove, number: number) {
    this.#number = number
    this.#request = request
    this.#own = own
    this.#proven = prove(this.#released.signal)
    this.#renewing = this.#renewUntilReleased()
  }

  async #renewUntilReleased(): Promise<void> {
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

  /** false: the lease is no longer ours. */
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
      // Not an error: the command's own requests report problems of the store, and the next renewal follows.
      if (!signal.aborted) log.detail({ repo: key }, `${display}: cannot renew the lease: ${messageOf(error)}`)
    }
    return true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { repository, stanza, log } = this.#request
    const { key, display, storage } = repository
    this.#released.abort()
    await this.#renewing
    if (!(await this.#proven)) return
    try {
      // An interrupted renewal may not have been stored. Only our own lease may be removed.
      if (await holdsLease(storage, stanza, this.#number, this.#own.token))
        await clearLease(storage, stanza, this.#number)
    } catch (error) {
      log.warn(
        { repo: key },
        `${display}: cannot release the lease: ${messageOf(error)}` +
          `\nHINT: the next command on this host takes it over; for other hosts run 'pgts --stanza=${stanza} lease --break'`,
      )
    }
  }
}

function heldError({ repository, stanza, clock, place }: LeaseRequest, found: FoundLease, life: Life): PgtsError {
  const breakIt = `pgts --stanza=${stanza} lease --repo=${repository.key} --break`
  const hints =
    life === 'alive'
      ? [
          'wait for this command to end',
          `if it is certainly dead, wait until its last sign of life is ${howLong(STALE_MS)} old, ` +
            `then run: ${breakIt}`,
        ]
      : [
          `its last sign of life is at least ${howLong(STALE_MS)} old: check whether it still runs on that host`,
          `if it is certainly dead, run: ${breakIt}`,
        ]
  if (isUnderOtherLockPath(found.lease?.place, place))
    hints.push('it runs on this host with another lock-path: use the same lock-path for all commands of a stanza')
  return new PgtsError('lock-acquire', `${repository.display} is in use: ${describeLease(found, clock.nowMs())}`, {
    hints,
  })
}

function lostError({ repository, clock }: LeaseRequest, found: FoundLease | undefined): PgtsError {
  const now = found === undefined ? 'there is no lease now' : describeLease(found, clock.nowMs())
  return new PgtsError(
    'lock-acquire',
    `the lease of this command in ${repository.display} was removed or replaced: ${now}`,
    {
      hints: [
        'this command stops, so that two commands do not write at the same time; run it again when the other one has ended',
      ],
    },
  )
}

/** `host db2 (process 4711, backup) holds the lease since 2026-11-22T18:00:00Z, last sign of life 12 seconds ago`. */
export function describeLease({ lease, lastSignMs }: FoundLease, nowMs: number): string {
  const ago = `last sign of life ${howLong(nowMs - lastSignMs)} ago`
  if (lease === undefined) return `there is a lease that this version of pgts cannot read, ${ago}`
  const since = new Date(lease.sinceMs).toISOString().replace(/\.\d+Z$/, 'Z')
  return `host ${lease.host} (process ${lease.pid}, ${lease.command}) holds the lease since ${since}, ${ago}`
}

/**
 * Removes the lease of a dead holder, which an operator decides. A holder with a recent sign of life is protected
 * unless `force`.
 *
 * @returns the removed lease; undefined: there was none
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
        `it can be broken when its last sign of life is ${howLong(STALE_MS)} old`,
        'use --force if the process is certainly dead; a live process detects it within a minute, and stops',
      ],
    })
  }
  await clearLease(storage, stanza, number, { signal })
  return found
}
