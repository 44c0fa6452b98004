import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Cluster } from '../postgres/postgres.ts'
import { allProcesses, isGone, signal } from '../processes/processes.ts'
import {
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  reachableNode,
  runAs,
  testUser,
  type RunOptions,
  type RunResult,
} from '../processes/test-user.ts'
import { until } from '../until.ts'
import { readyOf } from './replica.ts'
import { aSite, type Site } from './site.ts'

/** A call of the launcher in the data directory of a server. */
export interface Call extends RunResult {
  /** Node was started for this call. */
  readonly node: boolean
}

export type PushOptions = RunOptions & { readonly words?: readonly string[]; readonly repos?: readonly string[] }

export const QUIET = { code: 0, stdout: '', stderr: '' }

export interface CallsOptions {
  readonly program?: string
  /** Of this stanza, which the configuration of the site contains. */
  readonly cluster?: Cluster
  readonly stanza?: string
}

/** Calls of archive-push and archive-get as PostgreSQL makes them; they show whether Node was started. */
export class ResidentCalls {
  readonly cluster: Cluster
  readonly stanza: string
  readonly program: string
  readonly #node: string
  readonly #record: string

  constructor(
    readonly site: Site,
    { program = pgtsProgram(), cluster = site.cluster, stanza = 'main' }: CallsOptions = {},
  ) {
    this.cluster = cluster
    this.stanza = stanza
    this.program = program
    const dir = makeTestDir('node')
    this.#node = join(dir, 'node')
    this.#record = join(dir, 'record')
    writeFileSync(
      this.#node,
      `#!/bin/sh\nprintf '%s ' "$@" >>'${this.#record}'\necho >>'${this.#record}'\nexec '${reachableNode()}' "$@"\n`,
    )
    chmodSync(this.#node, 0o755)
    giveToTestUser(dir)
  }

  /** Push a segment; every success is compared with the repository. */
  async push(name: string, { words = [], repos = ['repo'], ...options }: PushOptions = {}): Promise<Call> {
    const wal = join(this.cluster.dataDir, 'pg_wal', name)
    const path = options.cwd === undefined ? `pg_wal/${name}` : wal
    const call = await this.#call('push', [...words, 'archive-push', path], options)
    if (call.code === 0) for (const repo of repos) expect(this.stored(name, repo)).toEqual([sha1Of(wal)])
    return call
  }

  /** Get a segment to the path that recovery uses; every success is compared with the repository. */
  async get(name: string): Promise<Call> {
    rmSync(this.target, { force: true })
    const call = await this.#call('get', ['archive-get', name, 'pg_wal/RECOVERYXLOG'])
    if (call.code === 0) expect(this.stored(name)).toEqual([sha1Of(this.target)])
    else expect(existsSync(this.target)).toBe(false)
    return call
  }

  get target(): string {
    return join(this.cluster.dataDir, 'pg_wal', 'RECOVERYXLOG')
  }

  async #call(kind: 'push' | 'get', args: readonly string[], options: RunOptions = {}): Promise<Call> {
    rmSync(this.#record, { force: true })
    const common = [`--config=${this.site.config}`, `--stanza=${this.stanza}`]
    const result = await runAs(testUser, this.program, [...common, ...args], {
      cwd: this.cluster.dataDir,
      deadlineMs: 90_000,
      ...options,
      env: { PGTS_NODE: this.#node, ...options.env },
    })
    const calls = existsSync(this.#record) ? readFileSync(this.#record, 'utf8') : ''
    return { ...result, node: calls.includes(` archive-${kind} `) }
  }

  /** SHA-1 in the name of each stored form of a segment. */
  stored(name: string, repo = 'repo'): string[] {
    const archive = join(this.site.dir, repo, 'archive', this.stanza, `${this.cluster.version}-1`)
    const directory = join(archive, name.slice(0, 16))
    const names = existsSync(directory) ? readdirSync(directory) : []
    // A killed process leaves its temporary file.
    return names
      .filter((found) => found.startsWith(`${name}-`) && !found.endsWith('.tmp'))
      .map((found) => found.slice(25, 65))
  }

  /** The resident processes of this site and stanza. */
  residents(kind: 'push' | 'get' = 'push'): number[] {
    const words = [`--config=${this.site.config}`, `--stanza=${this.stanza}`, `archive-${kind}:async`]
    return allProcesses()
      .filter(({ args }) => words.every((word) => args.includes(word)))
      .map(({ pid }) => pid)
  }

  untilEnded(pid: number): Promise<void> {
    return until('the end of the resident process', () => isGone(pid), { details: () => this.log() })
  }

  log(kind: 'push' | 'get' = 'push'): string {
    return readFileSync(join(this.site.dir, 'log', `${this.stanza}-archive-${kind}-async.log`), 'utf8')
  }

  /**
   * Push until a call is answered without Node: from then on the resident process is known.
   *
   * @param next name of the next segment
   */
  warm(next: () => string): Promise<number> {
    return this.#warm('push', () => this.push(next()))
  }

  /** As `warm`, for gets of one segment. */
  warmGet(name: string): Promise<number> {
    return this.#warm('get', () => this.get(name))
  }

  async #warm(kind: 'push' | 'get', call: () => Promise<Call>): Promise<number> {
    for (let attempt = 0; attempt < 10; attempt++) {
      const answer = await call()
      expect(answer).toMatchObject(QUIET)
      if (answer.node) continue
      await until('one resident process', () => this.residents(kind).length === 1)
      return this.residents(kind)[0]!
    }
    throw new Error(`every call started Node\n${this.log(kind)}`)
  }
}

/**
 * Ends the resident processes of a site, which write commit times to its repositories some seconds after a push. The calls of
 * PostgreSQL, which start them, must have ended.
 */
export async function endResidents({ config }: Site): Promise<void> {
  const signalled = new Set<number>()
  await until('the end of the resident processes', () => {
    const found = allProcesses().filter(
      ({ args }) => args.includes(`--config=${config}`) && args.some((word) => /^archive-(get|push):async$/.test(word)),
    )
    for (const { pid } of found) if (!signalled.has(pid)) signal(pid, 'SIGTERM')
    for (const { pid } of found) signalled.add(pid)
    return found.length === 0
  })
}

function sha1Of(path: string): string {
  return createHash('sha1').update(readFileSync(path)).digest('hex')
}

/** Segments of a server that wait until a test pushes them. */
export function waitingSegments(cluster: Cluster) {
  let used = 0
  return {
    async more(count: number): Promise<void> {
      for (let made = 0; made < count; made++)
        await cluster.query("select pg_logical_emit_message(true, 'x', repeat('x', 1000)), pg_switch_wal()")
      await until('segments', () => readyOf(cluster).length >= used + count)
    },
    next(): string {
      const name = readyOf(cluster)[used++]
      if (name === undefined) throw new Error('no segment is left')
      return name
    },
  }
}

export const WAITING = { walSegsizeMb: 1, conf: { archive_command: 'false', fsync: 'off' } } as const

/** A server whose segments wait until a test pushes them. */
export async function waitingSite(options: Readonly<Record<string, string>> = {}, program = pgtsProgram()) {
  const site = await aSite({ ...WAITING, program, options })
  await site.pgtsOk('--no-online', 'stanza-create')
  return { site, calls: new ResidentCalls(site, { program }), ...waitingSegments(site.cluster) }
}
