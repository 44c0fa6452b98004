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
import { PGBACKREST, type Settings } from './settings.ts'

/** Archiving in the background, by a server's directory and through the launcher. */
export interface ArchiveJob {
  readonly name: string
  /** What one run has to do with, for rates: calls, or MiB of WAL. */
  readonly amount: number
  readonly unit: 'call' | 'MiB'
  run(who: Program): Promise<Measurement>
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

/** A server of its own with that much WAL waiting, and a backup from before it in the repository of each program. */
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
      // Fails on purpose, so that all segments go on waiting for both.
      conf: { archive_mode: 'on', archive_command: 'false', max_wal_size: '8GB', shared_buffers: '128MB' },
    })
    // Room for all that is asked for; pgbackrest looks for each segment that the queue has room for, in every call.
    const queue = { 'archive-get-queue-max': `${(archiveSegments + 2) * walMiB}MiB` }
    const make = async (name: Program['name'], program: string) => {
      const who = await makeProgram(name, program, 'async', root, cluster, settings, queue)
      await runOk(who.program, [...common(who), '--type=full', 'backup'], { deadlineMs: 600_000 })
      return who
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

  /** So that nothing is made for jobs that nobody wants. */
  static isAskedFor(settings: Settings): boolean {
    return Object.values(archiveJobNames(settings)).some((name) => name.includes(settings.only))
  }

  jobs(): ArchiveJob[] {
    const { archiveSegments: count, walMiB } = this.settings
    const names = archiveJobNames(this.settings)
    return (Object.keys(names) as ArchiveJobKind[])
      .filter((kind) => names[kind].includes(this.settings.only))
      .filter((kind) => isInstalled((SHELLS[kind] ?? 'sh').split(' ')[0]!))
      .map((kind) => {
        const name = names[kind]
        if (kind === 'pushAll')
          return { name, amount: this.waiting.length * walMiB, unit: 'MiB', run: (who) => this.#pushAll(who) }
        if (kind === 'replay')
          return { name, amount: this.waiting.length * walMiB, unit: 'MiB', run: (who) => this.#replay(who) }
        const shell = SHELLS[kind]
        const run = kind.startsWith('push') ? this.#pushCalls : this.#getCalls
        return { name, amount: count, unit: 'call', run: (who) => run(who, shell) }
      })
  }

  /** From the first call until everything that waited is acknowledged. */
  async #pushAll(who: Program): Promise<Measurement> {
    await this.#endBackground(who)
    rmSync(spool(who), { recursive: true, force: true })
    rmSync(join(who.dir, 'repo/archive/main', `${this.cluster.version}-1`), { recursive: true, force: true })
    return this.#watched(who, async () => {
      await this.#call(who, 'archive-push', `pg_wal/${this.waiting[0]}`)
      await this.#untilPushed(who)
    })
  }

  #pushCalls = async (who: Program, shell?: string): Promise<Measurement> => {
    await this.#call(who, 'archive-push', `pg_wal/${this.waiting[0]}`)
    await this.#untilPushed(who)
    const names = this.waiting.slice(0, this.settings.archiveSegments)
    return measureCalls(
      calls(who, shell, names, (name) => `archive-push pg_wal/${name}`),
      this.cluster.dataDir,
      () => undefined,
    )
  }

  #getCalls = async (who: Program, shell?: string): Promise<Measurement> => {
    if (!this.#isPushed(who)) await this.#pushAll(who)
    await this.#endBackground(who)
    rmSync(join(spool(who), 'in'), { recursive: true, force: true })
    const [first = '', ...others] = this.waiting.slice(0, this.settings.archiveSegments + 1)
    await this.#call(who, 'archive-get', first, 'pg_wal/RECOVERYXLOG')
    const queue = join(spool(who), 'in')
    const isFetched = () => {
      const there = new Set(existsSync(queue) ? readdirSync(queue) : [])
      return others.every((name) => there.has(name)) && ![...there].some((name) => name.endsWith('.tmp'))
    }
    await until(`what ${who.name} fetches ahead`, isFetched)
    return measureCalls(
      calls(who, shell, others, (name) => `archive-get ${name} pg_wal/RECOVERYXLOG`),
      this.cluster.dataDir,
      // As a server does: it gives what it got the name of the segment, and wants nothing where the next one goes.
      () => rmSync(join(this.cluster.dataDir, 'pg_wal/RECOVERYXLOG'), { force: true }),
    )
  }

  /** From the start of the restored server until it takes writes. */
  async #replay(who: Program): Promise<Measurement> {
    if (!this.#isPushed(who)) await this.#pushAll(who)
    await this.#endBackground(who)
    emptyTarget(who)
    const place = [`--pg1-path=${who.target}`, `--spool-path=${join(who.dir, 'spool-of-restored')}`]
    mkdirSync(join(who.dir, 'spool-of-restored'), { recursive: true })
    giveToTestUser(join(who.dir, 'spool-of-restored'))
    await runOk(who.program, [...common(who), ...place.slice(0, 1), 'restore'], { deadlineMs: 600_000 })
    const copy = await startCluster({
      dir: who.target,
      conf: {
        archive_mode: 'off',
        restore_command: [`'${who.program}'`, ...common(who), ...place, 'archive-get %f "%p"'].join(' '),
        shared_buffers: '128MB',
      },
      start: false,
      startDeadlineMs: 1_800_000,
    })
    try {
      return await this.#watched(who, async () => {
        await copy.start()
        await copy.untilPrimary(1_800_000)
      })
    } finally {
      await copy.stop('immediate')
      await this.#endBackground(who)
    }
  }

  /** Wall time, and the highest memory of the background processes together. */
  async #watched(who: Program, work: () => Promise<void>): Promise<Measurement> {
    let peakKiB = 0
    const timer = setInterval(() => {
      const kib = this.#background(who).reduce((sum, { pid }) => sum + memoryOf(pid), 0)
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

  async #call(who: Program, ...words: string[]): Promise<void> {
    await runOk(who.program, [...common(who), ...words], { cwd: this.cluster.dataDir, deadlineMs: 600_000 })
  }

  #isPushed(who: Program): boolean {
    const out = join(spool(who), 'out')
    const there = new Set(existsSync(out) ? readdirSync(out) : [])
    return this.waiting.every((name) => there.has(`${name}.ok`))
  }

  #untilPushed(who: Program): Promise<void> {
    return until(`what ${who.name} pushes`, () => this.#isPushed(who))
  }

  #background(who: Program) {
    return allProcesses().filter(
      ({ args }) => args.some((arg) => arg.includes(':async')) && args.some((arg) => arg.includes(who.dir)),
    )
  }

  async #endBackground(who: Program): Promise<void> {
    for (const { pid } of this.#background(who)) {
      signal(pid, 'SIGTERM')
      await until(`the end of what ${who.name} left`, () => isGone(pid))
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const who of this.programs) await this.#endBackground(who)
    await this.cluster[Symbol.asyncDispose]()
  }
}

function common(who: Program): string[] {
  return [`--config=${who.config}`, '--stanza=main']
}

function spool(who: Program): string {
  return join(who.dir, 'spool', 'archive', 'main')
}

/** The calls of a server, as command lines. */
function calls(
  who: Program,
  shell: string | undefined,
  names: readonly string[],
  words: (name: string) => string,
): string[] {
  const program = `${who.name === 'pgts' && shell !== undefined ? `${shell} ` : ''}'${who.program}'`
  const call = [program, ...common(who).map((word) => `'${word}'`)].join(' ')
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
  throw new Error(`waited in vain for ${what}`)
}
