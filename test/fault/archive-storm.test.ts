import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readPushStatus } from '../../src/core/archive/status/push-status.ts'
import { namesIn, spoolPaths } from '../../src/core/archive/spool/spool-files.ts'
import { livingPid } from '../../src/core/archive/spool/spool-lock.ts'
import { bytes } from '../../src/util/byte-string.ts'
import { FaultyFront, type FrontFaults, SLOW_DOWN } from '../support/faults/faulty-front.ts'
import { objectStores } from '../support/stores/object-stores.ts'
import { atEnd, dataChecksum, makeTestDir, pgtsProgram } from '../support/postgres/postgres.ts'
import {
  allProcesses,
  argumentsOf,
  childrenOf,
  descendantsOf,
  isGone,
  isStopped,
  signal,
} from '../support/processes/processes.ts'
import { aReplica, readyOf, restored, untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { smallDisk } from '../support/faults/small-disk.ts'
import {
  BarredDirectory,
  FilledDisk,
  NumberedRows,
  numbersOf,
  segmentsSince,
  segmentsWanted,
  WAL_SEGMENT_MB,
} from '../support/sites/storm.ts'
import { makeCertificates } from '../support/stores/tls.ts'
import { until } from '../support/until.ts'

/** Who archives, and how many segments: with `archive-async`, or as a sample the resident process. */
const MODES = [
  { who: 'background', segments: segmentsWanted(120) },
  { who: 'resident', segments: segmentsWanted(48) },
] as const
type Mode = (typeof MODES)[number]
// Space for the status files of all segments that may wait, and not for many more.
const disk = smallDisk('4m', 1000)

/** How a failing store answers a fifth of its requests, one kind after the other. */
const STORE_FAULTS: readonly FrontFaults['how'][] = [
  SLOW_DOWN,
  { kind: 'lose-answer' },
  { kind: 'answer', status: 500, body: 'Internal Server Error' },
  { kind: 'truncate' },
]

/** SHA-1 by name of every segment in a list of archived files; a name that occurs twice is an error. */
function segmentsIn(names: Iterable<string>): Map<string, string> {
  const found = new Map<string, string>()
  for (const name of names) {
    const [, segment, sha1] = /([0-9A-F]{24})-([0-9a-f]{40})(?:\.\w+)?$/.exec(name) ?? []
    if (segment === undefined || sha1 === undefined) continue
    if (found.has(segment)) throw new Error(`${segment} is in the archive twice: ${sha1} and ${found.get(segment)}`)
    found.set(segment, sha1)
  }
  return found
}

const inOrder = (map: ReadonlyMap<string, string>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1))

/** A server that archives through the launcher to a local repository and to a store, and the faults that it meets. */
class Storm {
  readonly spool
  readonly rows
  readonly reached = { background: 0, shell: 0, node: 0, server: 0, immediate: 0, spoolFull: 0, requests: 0, struck: 0 }
  #filled: FilledDisk | undefined
  #storeFault = 0

  constructor(
    readonly site: Site,
    readonly front: FaultyFront,
    readonly mode: Mode,
  ) {
    this.spool = spoolPaths(disk ?? join(site.dir, 'spool'), 'main')
    this.rows = new NumberedRows(site.cluster)
  }

  asyncLog = (): string => {
    const path = join(this.site.dir, 'log', 'main-archive-push-async.log')
    return existsSync(path) ? readFileSync(path, 'utf8') : ''
  }

  details = (): string => `${this.asyncLog().slice(-5000)}\n${this.site.cluster.log().slice(-5000)}`

  /** The next kind of store fault from now on, or none. */
  failStore(on = true): void {
    this.reached.struck += this.front.counters.struck
    this.front.set(on ? { share: 0.2, how: STORE_FAULTS[this.#storeFault++ % STORE_FAULTS.length]! } : undefined)
  }

  /**
   * The archiver ends after a killed archive_command. The postmaster starts the next one after 10 s at the earliest, and
   * only when something wakes it, for example a new connection; otherwise it sleeps for up to 60 s.
   */
  async #wakePostmaster(): Promise<void> {
    await this.site.cluster.query('select 1', [], 'template1')
  }

  /**
   * Wait until segments wait and a background process works on them, so that the next fault interrupts it.
   *
   * An archiver whose calls failed three times sleeps for 60 s, or until the next segment is ready.
   */
  async busy(): Promise<number> {
    while (readyOf(this.site.cluster).length < 3) await this.rows.write()
    let pid: number | undefined
    let polls = 0
    const isRunning = async () => {
      pid = this.mode.who === 'background' ? livingPid(this.spool, 'push') : this.#resident()
      if (pid !== undefined) return true
      await this.#wakePostmaster()
      if (++polls % 10 === 0) await this.rows.write()
      return false
    }
    await until('a background process', isRunning, { everyMs: 100, details: this.details })
    return pid!
  }

  #resident(): number | undefined {
    const words = [`--config=${this.site.config}`, 'archive-push:async']
    return allProcesses().find(({ args }) => words.every((word) => args.includes(word)))?.pid
  }

  killBackground = async (): Promise<void> => {
    const pid = await this.busy()
    if (!signal(pid, 'SIGKILL')) return
    await until('its end', () => isGone(pid))
    this.reached.background++
  }

  /** Kill what PostgreSQL has called, in this stage. Each call begins as a shell, which may start Node. */
  async #killCall(stage: 'shell' | 'node'): Promise<void> {
    const { cluster } = this.site
    const isStage = (args: readonly string[]) =>
      stage === 'shell' ? args[1] === pgtsProgram() : args.some((arg) => arg.endsWith('/cli/main.cjs'))
    const deadline = Date.now() + 60_000
    while (Date.now() < deadline) {
      await this.rows.write()
      const archiver = descendantsOf(cluster.pid).find(({ args }) => args[0]?.includes('archiver'))
      if (archiver === undefined) {
        await this.#wakePostmaster()
        continue
      }
      // A shell exists for some milliseconds, so this loop does nothing else.
      for (const pause = Date.now() + 200; Date.now() < pause;) {
        // A shell that PostgreSQL starts may become the program, or start it.
        const called = childrenOf(archiver.pid)
        const started = called.flatMap(childrenOf)
        const call = [...called, ...started, ...started.flatMap(childrenOf)].find((pid) => isStage(argumentsOf(pid)))
        if (call === undefined || !signal(call, 'SIGKILL')) continue
        this.reached[stage]++
        return
      }
    }
    throw new Error(`no call was found in its ${stage}\n${this.details()}`)
  }
  killShell = () => this.#killCall('shell')

  /** While the background process is stopped, the call waits in Node, or Node pushes. */
  killNode = async (): Promise<void> => {
    const background = await this.busy()
    try {
      await until('a moment without a running request', () => this.#stopBetweenRequests(background), {
        deadlineMs: 300_000,
        details: this.details,
      })
      await this.#killCall('node')
    } finally {
      signal(background, 'SIGCONT')
    }
  }

  /** The shell waits for a minute for a request that a resident process has begun; for another one it starts Node. */
  async #stopBetweenRequests(pid: number): Promise<boolean> {
    if (!signal(pid, 'SIGSTOP')) return true
    await until('its stop', () => isStopped(pid) || isGone(pid))
    const { own } = this.spool
    const directories = namesIn(own).filter((name) => name.startsWith('resident-'))
    const names = directories.flatMap((name) => namesIn(bytes`${own}/${name}`))
    if (!names.some((name) => name.endsWith('.run'))) return true
    signal(pid, 'SIGCONT')
    return false
  }

  killServer = async (): Promise<void> => {
    await this.busy()
    const inFlight = this.rows.row().catch(() => undefined)
    await this.site.cluster.kill()
    await inFlight
    await this.site.cluster.start()
    await this.rows.resume()
    this.reached.server++
  }

  stopImmediately = async (): Promise<void> => {
    await this.busy()
    const inFlight = this.rows.row().catch(() => undefined)
    await this.site.cluster.stop('immediate')
    await inFlight
    await this.site.cluster.start()
    await this.rows.resume()
    this.reached.immediate++
  }

  fillSpool = async (): Promise<void> => {
    // Without space for requests Node pushes, and reports nothing.
    if (disk === undefined || this.mode.who === 'resident') return
    await this.busy()
    this.#filled = new FilledDisk(disk)
  }

  freeSpool = async (): Promise<void> => {
    if (this.#filled === undefined) return
    const mentions = () => [...this.details().matchAll(/cannot write '.*' to the spool|ENOSPC|no space left/gi)].length
    await until('a message about the full spool', () => this.rows.write().then(() => mentions() > 0), {
      details: this.details,
    })
    this.#filled.free()
    this.#filled = undefined
    this.reached.spoolFull++
  }

  async run(): Promise<void> {
    const blows = [
      ...[this.killBackground, this.killShell, this.killServer, this.fillSpool, this.freeSpool, this.killNode],
      ...[this.killBackground, this.stopImmediately],
    ]
    await using _ = new BarredDirectory(join(this.site.repo, 'archive', 'main', '15-1'))
    const { segments } = this.mode
    const rounds = roundsOf(this.mode)
    for (let blow = 0; this.rows.last < segments || blow < blows.length * rounds;) {
      await this.rows.write()
      // The backlog must not fill the disk.
      await untilArchived(this.site.cluster, 300_000, 99)
      if (this.rows.last < ((blow + 1) * segments) / (blows.length * rounds)) continue
      this.failStore()
      const started = Date.now()
      await blows[blow % blows.length]!()
      if (process.env['PGTS_TEST_SHOW'] !== undefined)
        console.log(`blow ${blow} after row ${this.rows.last}: ${Date.now() - started} ms`)
      blow++
    }
    // Until the store has failed often enough, however slowly segments are pushed on a busy machine.
    const struck = () => this.reached.struck + this.front.counters.struck
    while (struck() < segments / 10) {
      await this.rows.write()
      await untilArchived(this.site.cluster, 300_000, 9)
    }
    this.reached.requests = this.front.counters.requests
  }
}

function roundsOf({ segments }: Mode): number {
  return Math.ceil(segments / 250)
}

test.each(MODES)(
  '$segments segments through a storm in the $who: nothing is lost, doubled or changed',
  async (mode) => {
    const { segments } = mode
    const isResident = mode.who === 'resident'
    const store = objectStores.find(({ missing, name }) => name === 's3' && missing === undefined) ?? objectStores[2]!
    const bucket = await store.bucket()
    const certificates = makeCertificates(join(makeTestDir('front'), 'tls'))
    await using front = await FaultyFront.start({ host: '127.0.0.1', port: bucket.port.plain! }, certificates)
    const inStore = Object.entries(bucket.options({ port: front.port, caFile: certificates.caFile }))
    await using site = await aSite({
      walSegsizeMb: WAL_SEGMENT_MB,
      conf: { checkpoint_timeout: '30s' },
      options: {
        'archive-async': isResident ? 'n' : 'y',
        'process-max': '2',
        'compress-type': 'zst',
        'repo2-retention-full': '9',
        ...(disk === undefined ? {} : { 'spool-path': disk }),
        ...Object.fromEntries(inStore.map(([name, value]) => [name.replace('repo1-', 'repo2-'), value])),
      },
    })
    const { cluster } = site
    const storm = new Storm(site, front, mode)
    // Processes of a failed test must not remain.
    atEnd(() => {
      for (const { pid, args } of allProcesses())
        if (args.some((arg) => arg.includes(site.dir) && arg.startsWith('--config='))) signal(pid, 'SIGKILL')
    })
    await site.pgtsOk('stanza-create')
    await storm.rows.create()
    await site.pgtsOk('--type=full', '--repo=1', 'backup')
    const start = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])

    await storm.run()
    storm.failStore(false)
    await storm.rows.write()
    await untilArchived(cluster, 300_000)
    if (process.env['PGTS_TEST_SHOW'] !== undefined) console.log('all is archived')
    const { reached, rows } = storm
    console.log(`reached: ${JSON.stringify(reached)}`)

    // Every fault has occurred and had an effect.
    const rounds = roundsOf(mode)
    for (const [what, times] of Object.entries({ background: 2, shell: 1, node: 1, server: 1, immediate: 1 }))
      expect(reached[what as keyof typeof reached], what).toBeGreaterThanOrEqual(times * rounds)
    if (disk !== undefined && !isResident) expect(reached.spoolFull).toBe(rounds)
    expect(reached.struck).toBeGreaterThanOrEqual(segments / 10)
    expect(isResident ? cluster.log() : storm.asyncLog()).toMatch(/repo1: .*(permission|EACCES)/i)
    expect(cluster.log()).toMatch(/terminated by signal 9|failed with exit code 137/)

    // Both archives have every segment once, without a gap, and with the same content.
    const wanted = await segmentsSince(cluster, start)
    const local = segmentsIn(readdirSync(join(site.repo, 'archive'), { recursive: true, encoding: 'utf8' }))
    const remote = segmentsIn((await bucket.objects()).keys())
    expect(wanted.filter((name) => !local.has(name))).toEqual([])
    expect(inOrder(remote)).toEqual(inOrder(local))
    // A row that was in flight when the server was killed may share its segment with the next one.
    expect(wanted.length).toBeGreaterThanOrEqual(rows.last - reached.server - reached.immediate)
    await site.verifiedByPgbackrest()
    if (!isResident)
      await until('a status without a queue', () => readPushStatus(storm.spool)?.queue.files === 0, {
        details: storm.details,
      })

    // Replay from each archive gives every row in order: first the local one, then the store alone.
    expect(await numbersOf(cluster)).toEqual(Array.from({ length: rows.last }, (_, i) => i + 1))
    const checksum = await dataChecksum(cluster)
    for (const repo of ['1', '2']) {
      const replica = aReplica(site, { getWords: `--repo=${repo}`, options: { 'archive-get-queue-max': '64MiB' } })
      await using copy = await restored(site, replica)
      await copy.untilPrimary(300_000)
      expect(await numbersOf(copy)).toEqual(await numbersOf(cluster))
      expect(await dataChecksum(copy)).toEqual(checksum)
    }
  },
  3_600_000,
)
