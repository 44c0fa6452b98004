import type { Clock } from '../../../util/clock.ts'
import { PgtsError } from '../../../util/error.ts'
import type { HttpAccess } from '../../http/agents.ts'
import type { S3Keys } from '../description.ts'
import type { AccessKeys } from '../sign.ts'

/** Keys, and until when they are good. */
export interface FetchedKeys extends AccessKeys {
  readonly expiresMs?: number
}

export type FetchKeys = (signal?: AbortSignal) => Promise<FetchedKeys>

/** Temporary keys are fetched anew so long before they expire. */
const EARLY_MS = 5 * 60_000

/** Gives the keys to sign with; fetched once for all who ask, and again before they expire. */
export class KeySource {
  readonly #fetch: FetchKeys
  readonly #clock: Clock
  #current: Promise<FetchedKeys> | undefined
  #expiresMs = Infinity

  constructor(fetch: FetchKeys, clock: Clock) {
    this.#fetch = fetch
    this.#clock = clock
  }

  get(): Promise<AccessKeys> {
    if (this.#current === undefined || this.#clock.nowMs() > this.#expiresMs - EARLY_MS) return this.#refresh()
    return this.#current
  }

  /**
   * The service says that these have expired. False when asking again would give the same.
   *
   * @param used what the refused request was signed with
   */
  async expired(used: AccessKeys): Promise<boolean> {
    const before = this.#current
    const refused = await before
    // Another request has been refused before and has asked for new ones already.
    const renewed = this.#current !== before || (refused !== undefined && !same(refused, used))
    return !same(await (renewed ? this.get() : this.#refresh()), used)
  }

  async #refresh(): Promise<FetchedKeys> {
    // Whoever asks meanwhile waits for the same answer, which therefore no single request may cancel.
    const fetched = this.#fetch()
    this.#current = fetched
    this.#expiresMs = Infinity
    try {
      const keys = await fetched
      this.#expiresMs = keys.expiresMs ?? Infinity
      return keys
    } catch (error) {
      if (this.#current === fetched) this.#current = undefined
      throw error
    }
  }
}

function same(a: AccessKeys, b: AccessKeys): boolean {
  return a.id === b.id && a.secret === b.secret && a.token === b.token
}

/** What kinds of keys there are; each is loaded when it is configured. */
export async function openKeySource(keys: S3Keys, access: HttpAccess, repository: string, clock: Clock) {
  return new KeySource(await fetcherOf(keys, access, repository), clock)
}

async function fetcherOf(keys: S3Keys, access: HttpAccess, repository: string): Promise<FetchKeys> {
  switch (keys.type) {
    case 'shared': {
      const { key: id, secret, token } = keys
      return async () => ({ id, secret, ...(token === undefined ? {} : { token }) })
    }
    case 'instance': {
      const { instanceKeys } = await import('./instance.ts')
      return instanceKeys(keys, repository)
    }
    case 'container': {
      const { containerKeys } = await import('./container.ts')
      return containerKeys(keys, access)
    }
    case 'web-id': {
      const { webIdentityKeys } = await import('./web-identity.ts')
      return webIdentityKeys(keys, access)
    }
    case 'process': {
      const { processKeys } = await import('./process.ts')
      return processKeys(keys.command)
    }
  }
}

/** Keys from the JSON that metadata services and programs answer with. */
export function keysFromJson(text: string, from: string): FetchedKeys {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The text itself may hold a secret, and so may the words of a JSON error.
    throw new PgtsError('format', `${from} did not answer with keys: the answer is not JSON`)
  }
  const fields = (typeof value === 'object' ? value : null) as Record<string, unknown> | null
  const field = (name: string) => (typeof fields?.[name] === 'string' ? fields[name] : undefined)
  const code = field('Code')
  if (code !== undefined && code !== 'Success') {
    throw new PgtsError('service', `${from} hands out no keys: ${code} ${field('Message') ?? ''}`.trimEnd())
  }
  const [id, secret] = [field('AccessKeyId'), field('SecretAccessKey')]
  if (id === undefined || secret === undefined) {
    const missing = id === undefined ? 'AccessKeyId' : 'SecretAccessKey'
    throw new PgtsError('format', `${from} did not answer with keys: ${missing} is missing`)
  }
  return withExpiry({ id, secret }, field('Token') ?? field('SessionToken'), field('Expiration'), from)
}

export function withExpiry(
  keys: { id: string; secret: string },
  token: string | undefined,
  expiration: string | undefined,
  from: string,
): FetchedKeys {
  const expiresMs = expiration === undefined ? undefined : Date.parse(expiration)
  if (Number.isNaN(expiresMs)) {
    throw new PgtsError('format', `${from} gives keys whose Expiration is not a time: ${String(expiration)}`)
  }
  return {
    ...keys,
    ...(token === undefined ? {} : { token }),
    ...(expiresMs === undefined ? {} : { expiresMs }),
  }
}
