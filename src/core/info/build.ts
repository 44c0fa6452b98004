import { manifestName } from '../../format/repo-path.ts'
import type { BackupType } from '../../format/manifest.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { asBytes, compareBytes, type ByteString } from '../../util/byte-string.ts'
import { inParallel } from '../../util/parallel.ts'
import type { HeldLock } from '../../util/lock.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { Repository } from '../repository.ts'
import { backupLock, restoreLock } from './locks.ts'
import {
  STATUS,
  STATUS_MESSAGES,
  type InfoBackup,
  type InfoDrill,
  type InfoReport,
  type InfoStanza,
  type Status,
  type StatusCode,
} from './report.ts'
import { emptyStanza, otherStatus, readStanza, statusOf, type StanzaInRepo } from './stanza-repo.ts'

export interface InfoRequest {
  readonly repos: readonly Repository[]
  /** Only this stanza. */
  readonly stanza?: ByteString
  /** Only this backup, with details from its manifest. */
  readonly set?: string
  /** Only backups of this type. */
  readonly type?: BackupType
  /** `progress` reads no repository file, only the locks of running commands. */
  readonly detail: 'full' | 'progress'
  /** Also report which points in time can be reached: not under the name pgbackrest. */
  readonly windows?: boolean
  /** Also report the last drill: not under the name pgbackrest. */
  readonly drills?: boolean
  /** Locks of a stanza that are held on this host. */
  locksOf(stanza: string): readonly HeldLock[]
  readonly signal: AbortSignal
}

/** Shown as the stanza when no repository can be read and no stanza was given. */
const INVALID_STANZA = asBytes('[invalid]')

/** The directory with one subdirectory for each stanza. */
const STANZAS = 'backup'

/**
 * Collects the state of all stanzas in all repositories. A failure of one repository is part of the report, never an
 * error.
 */
export async function buildInfo(request: InfoRequest): Promise<InfoReport> {
  const { repos } = request
  const broken = new Map<number, Status>()
  const found = new Map<ByteString, Map<number, StanzaInRepo>>()
  let setFound = false
  const answers = await Promise.all(repos.map((repo) => askRepository(request, repo)))
  for (const [index, { key }] of repos.entries()) {
    const answer = answers[index]!
    if (answer.failure !== undefined) broken.set(key, answer.failure)
    if (answer.setFound) setFound = true
    for (const [name, stanza] of answer.stanzas)
      found.set(name, (found.get(name) ?? new Map<number, StanzaInRepo>()).set(key, stanza))
  }
  if (found.size === 0 && broken.size > 0) found.set(request.stanza ?? INVALID_STANZA, new Map())

  // Running commands do not depend on repositories that lack a stanza, so this is only reported for the requested
  // stanza.
  const absent = request.detail === 'progress' && request.stanza === undefined ? STATUS.ok : STATUS.missingPath
  const stanzas: InfoStanza[] = []
  for (const [name, byRepo] of [...found].sort(([a], [b]) => compareBytes(a, b))) {
    const states = repos.map(({ key }) => {
      const failure = broken.get(key)
      if (failure !== undefined) return emptyStanza(failure)
      const state = byRepo.get(key) ?? emptyStanza(statusOf(absent))
      if (request.set === undefined || setFound || !isUsable(state)) return state
      return { ...emptyStanza(statusOf(STATUS.backupMissing)), readable: true }
    })
    stanzas.push(combine(request, name, states))
  }
  return {
    detail: request.detail,
    set: request.set,
    notFound: notFoundIn(request, answers),
    stanzas,
  }
}

/** Undefined if a repository cannot be read, because it may have the stanza. */
function notFoundIn({ stanza }: InfoRequest, answers: readonly RepositoryAnswer[]): InfoReport['notFound'] {
  const present = [...new Set(answers.flatMap((answer) => answer.present))].sort(compareBytes)
  const isFound = stanza === undefined ? present.length > 0 : present.includes(stanza)
  return isFound || answers.some(({ failure }) => failure !== undefined) ? undefined : { stanza, present }
}

interface RepositoryAnswer {
  /** Every stanza with a directory. */
  readonly present: readonly ByteString[]
  readonly stanzas: readonly (readonly [name: ByteString, stanza: StanzaInRepo])[]
  readonly setFound: boolean
  /** Set if the repository cannot be read. */
  readonly failure?: Status
}

async function askRepository(request: InfoRequest, repo: Repository): Promise<RepositoryAnswer> {
  const { signal } = request
  let setFound = false
  try {
    // A requested stanza is read while the stanzas are listed.
    const listing = stanzasIn(repo.storage, signal)
    markHandled(listing)
    const wanted = request.stanza === undefined ? await listing : [request.stanza]
    const set = await setIn(request, repo.storage)
    setFound = set !== undefined
    const stanzas = await inParallel(wanted, atOnce(repo.storage), async (name) => {
      const stanza = readOrSkip(request, repo, name, set)
      markHandled(stanza)
      return [name, (await listing).includes(name) ? await stanza : emptyStanza(statusOf(STATUS.missingPath))] as const
    })
    const present = await listing
    return { present, stanzas, setFound }
  } catch (error) {
    signal.throwIfAborted()
    return { present: [], stanzas: [], setFound, failure: otherStatus(error) }
  }
}

/** A stanza takes about ten sequential requests with a few bytes each. */
function atOnce({ parallel = 1 }: StorageDriver): number {
  return parallel === 1 ? 1 : 4 * parallel
}

async function stanzasIn(storage: StorageDriver, signal: AbortSignal): Promise<ByteString[]> {
  const names: ByteString[] = []
  for await (const { name, kind } of storage.list(STANZAS, { namesOnly: true, signal })) {
    if (kind !== 'file') names.push(name.slice(STANZAS.length + 1))
  }
  return names
}

/** The backup of --set, if this repository has it. */
async function setIn(request: InfoRequest, storage: StorageDriver): Promise<string | undefined> {
  const { set, stanza, signal } = request
  if (set === undefined || stanza === undefined) return undefined
  return (await storage.stat(manifestName(stanza, set), { signal })) === undefined ? undefined : set
}

async function readOrSkip(
  request: InfoRequest,
  repo: Repository,
  stanza: string,
  set: string | undefined,
): Promise<StanzaInRepo> {
  if (request.detail === 'progress') return { ...emptyStanza(statusOf(STATUS.ok)), readable: true }
  return readStanza({
    repository: repo,
    stanza,
    set,
    windows: request.windows === true,
    drills: request.drills === true,
    signal: request.signal,
  })
}

function isUsable({ status: { code } }: StanzaInRepo): boolean {
  return code === STATUS.ok || code === STATUS.noBackup
}

function combine(request: InfoRequest, name: ByteString, states: readonly StanzaInRepo[]): InfoStanza {
  const { repos } = request
  const current = states.find((state) => state.current !== undefined)?.current
  const code = overallStatus(states, current)
  const readable = repos.filter((_, index) => states[index]?.readable === true).map(({ key }) => key)
  const locks = request.locksOf(name)
  const ciphers = new Set(repos.map(cipherName))
  const drill = newestDrill(states)
  return {
    name,
    status: {
      code,
      message: STATUS_MESSAGES[code],
      lock: { backup: backupLock(locks, readable), restore: restoreLock(locks, readable) },
    },
    cipher: ciphers.size === 1 ? ([...ciphers][0] as string) : 'mixed',
    repos: repos.map((repo, index) => ({
      key: repo.key,
      cipher: cipherName(repo),
      status: (states[index] as StanzaInRepo).status,
    })),
    current,
    clusters: states.flatMap(({ clusters }) => clusters),
    archives: states.flatMap(({ archives }) => archives),
    backups: mergeByStop(states.map(({ backups }) => backups)).filter(
      ({ label, type }) =>
        (request.set === undefined || label === request.set) && (request.type === undefined || type === request.type),
    ),
    ...(drill === undefined ? {} : { drill }),
  }
}

function newestDrill(states: readonly StanzaInRepo[]): InfoDrill | undefined {
  const drills = states.flatMap(({ drill }) => (drill === undefined ? [] : [drill]))
  return drills.sort((a, b) => b.record.startedMs - a.record.startedMs)[0]
}

/** As configured. */
function cipherName({ cipher }: Repository): string {
  return cipher?.type ?? 'none'
}

/**
 * Repositories that disagree about the cluster are reported first: an upgrade or a configuration change is incomplete.
 */
function overallStatus(states: readonly StanzaInRepo[], current: StanzaInRepo['current']): StatusCode {
  const disagrees = states.some(
    (state) =>
      state.readable &&
      state.current !== undefined &&
      (state.current.systemId !== current?.systemId || state.current.version !== current?.version),
  )
  if (disagrees) return STATUS.clusterMismatch
  const codes = new Set(states.map(({ status }) => status.code))
  return codes.size === 1 ? ([...codes][0] as StatusCode) : STATUS.mixed
}

/** Merges the lists by stop time; the order within each repository, by label, is kept. */
function mergeByStop(lists: readonly (readonly InfoBackup[])[]): InfoBackup[] {
  const rest = lists.map((list) => [...list])
  const merged: InfoBackup[] = []
  for (;;) {
    let next: InfoBackup[] | undefined
    for (const list of rest) {
      const first = list[0]
      if (first !== undefined && (next?.[0] === undefined || first.timestampStop < next[0].timestampStop)) next = list
    }
    if (next === undefined) return merged
    merged.push(next.shift() as InfoBackup)
  }
}
