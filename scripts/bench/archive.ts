import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { allProcesses, isGone, signal } from '../../test/support/processes/processes.ts'
import {
  type Cluster,
  giveToTestUser,
  isInstalled,
  pgtsProgram,
  runOk,
  startCluster,
} from '../../test/support/postgres/postgres.ts'
import { measureCalls, type Measurement, memoryOf } from './measure.ts'
import { emptyTarget, makeProgram, type Program } from './programs.ts'
import { isAskedFor, PGBACKREST, type Settings } from './settings.ts'

/** Archiving in the background, in the directory of a server and through the launcher. */
export interface ArchiveJob {
  readonly name: string
  /** Amount of work in one run, for rates: calls, or MiB of WAL. */
  readonly amount: number
  readonly unit: 'call' | 'MiB'
  run(tested: Program): Promise<Measurement>
}

const SEGMENT = /^[0-9A-F]{24}$/

function archiveJobNames({ archiveSegments: count, walMiB }: Settings): Record<ArchiveJobKind, string> {
  const what = `${count} segments of ${walMiB} MiB`
  return {
    pushAll: `async archive-push, sustained: ${what} to the archive`,
    pushSh: `async archive-push, a call in the steady state: ${count} calls, /bin/sh`,
    pushBash: `async archive-push, a call in the steady state: ${count} calls, bash`,
    pushBusybox: `async archive-push, a call in the steady state: ${count} calls, busybox sh`,
    getSh: `async archive-get, a call for what lies ready: ${count} calls, /bin/sh`,
    getBash: `async archive-get, a call for what lies ready: ${count} calls, bash`,
    getBusybox: `async archive-get, a call for what lies ready: ${count} calls, busybox sh`,
    replay: `async archive-get, replay: ${what} by a restored server`,
  }
}
type ArchiveJobKind = 'pushAll' | 'pushSh' | 'pushBash' | 'pushBusybox' | 'getSh' | 'getBash' | 'getBusybox' | 'replay'

const SHELLS: Partial<Record<ArchiveJobKind, string>> = {
  pushBash: 'bash',
  getBash: 'bash',
  pushBusybox: 'busybox sh',
  getBusybox: 'busybox sh',
}

/** A server with this much WAL to archive, and an earlier backup in the repository of each program. */
export class ArchiveBench implements AsyncDisposable {
  private constructor(
    readonly settings: Settings,
    readonly cluster: Cluster,
    readonly programs: readonly [Program, Program],
    /** Segments that wait to be archived, in order. */
    readonly waiting: readonly string[],
  ) {}

  static async start(root: string, settings: Settings): Promise<ArchiveBench> {
    const { archiveSegments, walMiB } = settings
    const cluster = await startCluster({
      walSegsizeMb: walMiB,
      // Fails on purpose, so that both programs find all segments.
      conf: { archive_mode: 'on', archive_command: 'false', max_wal_size: '8GB', shared_buffers: '128MB' },
    })
    // Room for all segments of the run; pgbackrest searches each segment that the queue has room for, in every call.
    const queue = { 'archive-get-queue-max': `${(archiveSegments + 2) * walMiB}MiB` }
    const make = async (name: Program['name'], program: string) => {
      const tested = await makeProgram(name, program, 'async', root, cluster, settings, queue)
      await runOk(tested.program, [...common(tested), '--type=full', 'backup'], { deadlineMs: 600_000 })
      return tested
    }
    const programs = [await make('pgts', pgtsProgram()), await make('pgbackrest', PGBACKREST)] as const
    await cluster.query('create table wal (id bigint, name text, noise text)')
    for (let waiting = 0; waiting < archiveSegments; waiting = ready(cluster).length)
      await cluster.query(
        `insert into wal select i, 'customer number ' || i % 1000, md5(random()::text) || md5((i * 7)::text)
           from generate_series(1, 50000) i`,
      )
    return new ArchiveBench(settings, cluster, programs, ready(cluster))
  }

  /** Created on demand, only for the selected jobs. */
  static isAskedFor(settings: Settings): boolean {
    return Object.values(archiveJobNames(settings)).some((name) => isAskedFor(name, settings))
  }

  jobs(): ArchiveJob[] {
    const { archiveSegments: count, walMiB } = this.settings
    const names = archiveJobNames(this.settings)
    return (Object.keys(names) as ArchiveJobKind[])
      .filter((kind) => isAskedFor(names[kind], this.settings))
      .filter((kind) => isInstalled((SHELLS[kind] ?? 'sh').split(' ')[0]!))
      .map((kind) => {
        const name = names[kind]
        if (kind === 'pushAll')
          return { name, amount: this.waiting.length * walMiB, unit: 'MiB', run: (tested) => this.#pushAll(tested) }
        if (kind === 'replay')
          return { name, amount: this.waiting.length * walMiB, unit: 'MiB', run: (tested) => this.#replay(tested) }
        const shell = SHELLS[kind]
        const run = kind.startsWith('push') ? this.#pushCalls : this.#getCalls
        return { name, amount: count, unit: 'call', run: (tested) => run(tested, shell) }
      })
  }

  /** From the first call until every waiting segment is acknowledged. */
  async #pushAll(tested: Program): Promise<Measurement> {
    await this.#endBackground(tested)
    rmSync(spool(tested), { recursive: true, force: true })
    rmSync(join(tested.dir, 'repo/archive/main', `${this.cluster.version}-1`), { recursive: true, force: true })
    return this.#watched(tested, async () => {
      await this.#call(tested, 'archive-push', `pg_wal/${this.waiting[0]}`)
      await this.#untilPushed(tested)
    })
  }

  #pushCalls = async (tested: Program, shell?: string): Promise<Measurement> => {
    await this.#call(tested, 'archive-push', `pg_wal/${this.waiting[0]}`)
    await this.#untilPushed(tested)
    const names = this.waiting.slice(0, this.settings.archiveSegments)
    return measureCalls(
      calls(tested, shell, names, (name) => `archive-push pg_wal/${name}`),
      this.cluster.dataDir,
      () => undefined,
    )
  }

  #getCalls = async (tested: Program, shell?: string): Promise<Measurement> => {
    if (!this.#isPushed(tested)) await this.#pushAll(tested)
    await this.#endBackground(tested)
    rmSync(join(spool(tested), 'in'), { recursive: true, force: true })
    const [first = '', ...others] = this.waiting.slice(0, this.settings.archiveSegments + 1)
    await this.#call(tested, 'archive-get', first, 'pg_wal/RECOVERYXLOG')
    const queue = join(spool(tested), 'in')
    const isFetched = () => {
      const there = new Set(existsSync(queue) ? readdirSync(queue) : [])
      return others.every((name) => there.has(name)) && ![...there].some((name) => name.endsWith('.tmp'))
    }
    await until(`what ${tested.name} fetches ahead`, isFetched)
    return measureCalls(
      calls(tested, shell, others, (name) => `archive-get ${name} pg_wal/RECOVERYXLOG`),
      this.cluster.dataDir,
      // As a server: it renames the fetched file to the segment, so that the next target does not exist.
      () => rmSync(join(this.cluster.dataDir, 'pg_wal/RECOVERYXLOG'), { force: true }),
    )
  }

  /** From the start of the restored server until it accepts writes. */
  async #replay(tested: Program): Promise<Measurement> {
    if (!this.#isPushed(tested)) await this.#pushAll(tested)
    await this.#endBackground(tested)
    emptyTarget(tested)
    const place = [`--pg1-path=${tested.target}`, `--spool-path=${join(tested.dir, 'spool-of-restored')}`]
    mkdirSync(join(tested.dir, 'spool-of-restored'), { recursive: true })
    giveToTestUser(join(tested.dir, 'spool-of-restored'))
    await runOk(tested.program, [...common(tested), ...place.slice(0, 1), 'restore'], { deadlineMs: 600_000 })
    const copy = await startCluster({
      dir: tested.target,
      conf: {
        archive_mode: 'off',
        restore_command: [`'${tested.program}'`, ...common(tested), ...place, 'archive-get %f "%p"'].join(' '),
        shared_buffers: '128MB',
      },
      start: false,
      startDeadlineMs: 1_800_000,
    })
    try {
      return await this.#watched(tested, async () => {
        await copy.start()
        await copy.untilPrimary(1_800_000)
      })
    } finally {
      await copy.stop('immediate')
      await this.#endBackground(tested)
    }
  }

  /** Wall time and the peak of the total memory of the background processes. */
  async #watched(tested: Program, work: () => Promise<void>): Promise<Measurement> {
    let peakKiB = 0
    const timer = setInterval(() => {
      const kib = this.#background(tested).reduce((sum, { pid }) => sum + memoryOf(pid), 0)
      peakKiB = Math.max(peakKiB, kib)
    }, 100)
    const started = performance.now()
    try {
      await work()
      return { seconds: (performance.now() - started) / 1000, cpuSeconds: NaN, peakMiB: peakKiB / 1024 }
    } finally {
      clearInterval(timer)
    }
  }

  async #call(tested: Program, ...words: string[]): Promise<void> {
    await runOk(tested.program, [...common(tested), ...words], { cwd: this.cluster.dataDir, deadlineMs: 600_000 })
  }

  #isPushed(tested: Program): boolean {
    const out = join(spool(tested), 'out')
    const there = new Set(existsSync(out) ? readdirSync(out) : [])
    return this.waiting.every((name) => there.has(`${name}.ok`))
  }

  #untilPushed(tested: Program): Promise<void> {
    return until(`what ${tested.name} pushes`, () => this.#isPushed(tested))
  }

  #background(tested: Program) {
    return allProcesses().filter(
      ({ args }) => args.some((arg) => arg.includes(':async')) && args.some((arg) => arg.includes(tested.dir)),
    )
  }

  async #endBackground(tested: Program): Promise<void> {
    for (const { pid } of this.#background(tested)) {
      signal(pid, 'SIGTERM')
      await until(`the end of what ${tested.name} left`, () => isGone(pid))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const tested of this.programs) await this.#endBackground(tested)
    await this.cluster[Symbol.asyncDispose]()
  }
}

function common(tested: Program): string[] {
  return [`--config=${tested.config}`, '--stanza=main']
}

function spool(tested: Program): string {
  return join(tested.dir, 'spool', 'archive', 'main')
}

/** The calls of a server, as command lines. */
function calls(
  tested: Program,
  shell: string | undefined,
  names: readonly string[],
  words: (name: string) => string,
): string[] {
  const program = `${tested.name === 'pgts' && shell !== undefined ? `${shell} ` : ''}'${tested.program}'`
  const call = [program, ...common(tested).map((word) => `'${word}'`)].join(' ')
  return names.map((name) => `${call} ${words(name)}`)
}

function ready(cluster: Cluster): string[] {
  return readdirSync(join(cluster.dataDir, 'pg_wal', 'archive_status'))
    .filter((name) => name.endsWith('.ready'))
    .map((name) => name.slice(0, -'.ready'.length))
    .filter((name) => SEGMENT.test(name))
    .sort()
}

async function until(what: string, test: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 600_000; Date.now() < deadline; await sleep(5)) if (test()) return
  throw new Error(`timeout while waiting for ${what}`)
}
