import { buildInfo } from '../../core/info/build.ts'
import { STATUS, type InfoBackup, type InfoDetails, type InfoReport, type InfoStanza } from '../../core/info/report.ts'
import { latestDrills } from '../../core/drill/store.ts'
import type { Drilled } from '../../core/metrics/drill-families.ts'
import type { Verified } from '../../core/metrics/verify-families.ts'
import { loadMemory } from '../../core/verify/memory.ts'
import { metrics } from '../../core/metrics/metrics.ts'
import type { MetricFamily } from '../../core/metrics/family.ts'
import type { Repository } from '../../core/repository.ts'
import type { ArchiveStatus } from '../../core/archive/status/archive-status.ts'
import { bytes, bytesToText, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { messageOf } from '../../util/error.ts'
import { readLocks } from '../../util/lock.ts'
import { readArchiveStatus } from '../archive-status.ts'
import type { CommandContext } from '../context.ts'

/** Collects the metrics, any number of times. A failure of one part is logged; the others are collected. */
export class Collector {
  readonly #ctx: CommandContext<'metrics'>
  /** By repository, stanza and label: a backup's manifest does not change. */
  readonly #details = new Map<ByteString, InfoDetails | undefined>()

  constructor(ctx: CommandContext<'metrics'>) {
    this.#ctx = ctx
  }

  async collect(): Promise<MetricFamily[]> {
    const { clock, options, stanza } = this.#ctx
    const [info, archiving] = await Promise.all([this.#info(), this.#archiving()])
    return metrics({
      info,
      stanza,
      archiving,
      verified: await this.#verified(info?.stanzas ?? []),
      drilled: await this.#drilled(info?.stanzas ?? []),
      walLabels: options.walLabels,
      nowSeconds: Math.floor(clock.nowMs() / 1000),
    })
  }

  async #info(): Promise<InfoReport | undefined> {
    const { log, options, signal, stanza } = this.#ctx
    try {
      const report = await this.#read(stanza === '' ? undefined : textToBytes(stanza))
      return options.databases ? { ...report, stanzas: await this.#withDetails(report.stanzas) } : report
    } catch (error) {
      signal.throwIfAborted()
      log.warn(`the state of the repositories cannot be collected: ${messageOf(error)}`)
      return undefined
    }
  }

  async #read(stanza: ByteString | undefined, set?: string): Promise<InfoReport> {
    const { options, signal } = this.#ctx
    return buildInfo({
      repos: await this.#ctx.repositories(),
      stanza,
      set,
      detail: 'full',
      windows: set === undefined,
      locksOf: (name) => readLocks(options.lockPath, name),
      signal,
    })
  }

  /** Reads the manifest of each backup once. */
  async #withDetails(stanzas: readonly InfoStanza[]): Promise<InfoStanza[]> {
    const keyOf = ({ name }: InfoStanza, { repoKey, label }: InfoBackup) => bytes`${repoKey} ${name} ${label}`
    const shown: InfoStanza[] = []
    const kept = new Set<ByteString>()
    for (const stanza of stanzas) {
      const labels = new Set(
        stanza.backups.filter((backup) => !this.#details.has(keyOf(stanza, backup))).map(({ label }) => label),
      )
      for (const label of labels) {
        const { stanzas: found } = await this.#read(stanza.name, label)
        for (const backup of found.flatMap(({ backups }) => backups))
          this.#details.set(keyOf(stanza, backup), backup.details)
      }
      for (const backup of stanza.backups) kept.add(keyOf(stanza, backup))
      const backups = stanza.backups.map((backup) => ({
        ...backup,
        details: this.#details.get(keyOf(stanza, backup)),
      }))
      shown.push({ ...stanza, backups })
    }
    for (const key of this.#details.keys()) if (!kept.has(key)) this.#details.delete(key)
    return shown
  }

  /** `read` for each stanza of each repository that can be read. */
  async #inEach<T>(
    stanzas: readonly InfoStanza[],
    read: (repository: Repository, name: ByteString) => Promise<T>,
  ): Promise<T[]> {
    const repositories = await this.#ctx.repositories()
    const pairs = stanzas.flatMap(({ name, repos }) =>
      repos.filter(({ status }) => status.code === STATUS.ok).map(({ key }) => ({ name, key })),
    )
    return Promise.all(
      pairs.map(({ name, key }) =>
        read(
          repositories.find((one) => one.key === key)!,
          name,
        ),
      ),
    )
  }

  async #verified(stanzas: readonly InfoStanza[]): Promise<Verified[]> {
    return this.#inEach(stanzas, async ({ key, storage }, name) => ({
      repoKey: key,
      stanza: bytesToText(name),
      memory: await loadMemory(storage, name, this.#ctx.signal),
    }))
  }

  async #drilled(stanzas: readonly InfoStanza[]): Promise<Drilled[]> {
    const { log, signal } = this.#ctx
    const found = await this.#inEach(stanzas, async (repository, name) => {
      try {
        const { last, passed } = await latestDrills(repository, name, signal)
        return last === undefined ? [] : [{ repoKey: repository.key, stanza: bytesToText(name), last, passed }]
      } catch (error) {
        signal.throwIfAborted()
        log.warn(`the drills of ${repository.display} cannot be collected: ${messageOf(error)}`)
        return []
      }
    })
    return found.flat()
  }

  /** Undefined if this is not the host of the server. */
  async #archiving(): Promise<ArchiveStatus | undefined> {
    const { options, signal, stanza } = this.#ctx
    if (stanza === '' || options.pg[0]?.path === undefined || options.pg[0].host !== undefined) return undefined
    try {
      return await readArchiveStatus(this.#ctx)
    } catch {
      signal.throwIfAborted()
      return undefined
    }
  }
}
