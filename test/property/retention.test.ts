import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isDirectoryUnneeded,
  planArchive,
  isWalFileUnneeded,
  type ArchiveRule,
} from '../../src/core/expire/archive-retention.ts'
import { planBackups, type ExpireChoice, type RetentionPolicy } from '../../src/core/expire/retention.ts'
import { compareLabels } from '../../src/format/backup-label.ts'
import type { BackupEntry } from '../../src/format/backup-info.ts'
import {
  archiveInfoOf,
  backupInfoOf,
  entriesOf,
  segment,
  typeOfLabel,
  type TestBackup,
  type TestCluster,
} from '../support/builders/repository.ts'

const DAY = 86_400
const START = Date.UTC(2026, 0, 1) / 1000

/** The events of a site, one after the other. */
type Event =
  | { kind: 'backup'; type: 'full' | 'diff' | 'incr'; online: boolean; segments: number }
  | { kind: 'wal'; segments: number }
  | { kind: 'days'; days: number }
  | { kind: 'promotion'; back: number }
  | { kind: 'upgrade' }

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('backup' as const),
        type: fc.constantFrom('full' as const, 'diff' as const, 'incr' as const),
        online: fc.nat(9).map((number) => number > 0),
        segments: fc.nat(3),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant('wal' as const), segments: fc.integer({ min: 1, max: 300 }) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('days' as const), days: fc.integer({ min: 1, max: 9 }) }) },
    // A recovery may use any earlier timeline, and the next promotion uses the next free number.
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('promotion' as const), back: fc.nat(2) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'upgrade' as const }) },
  ),
  { maxLength: 25 },
)

interface SiteHistory {
  readonly clusters: readonly TestCluster[]
  readonly backups: readonly BackupEntry[]
  readonly endSeconds: number
}

/** Apply the events: labels grow with time, WAL with work, a diff depends on its full, an incr on the last backup. */
function historyOf(list: readonly Event[]): SiteHistory {
  const clusters: TestCluster[] = [{}]
  const backups: TestBackup[] = []
  let now = START
  let timeline = 1
  let at = 5
  for (const event of list) {
    now += 60
    if (event.kind === 'wal') at += event.segments
    if (event.kind === 'days') now += event.days * DAY
    // After a recovery to an earlier timeline segment names sort before those of older backups.
    if (event.kind === 'promotion') timeline = Math.max(1, timeline + (event.back === 0 ? 1 : 1 - event.back))
    if (event.kind === 'upgrade') {
      clusters.push({ systemId: BigInt(clusters.length + 1) })
      timeline = 1
    }
    if (event.kind !== 'backup') continue
    const ofCluster = backups.filter(({ id }) => id === clusters.length)
    const full = ofCluster.findLast(({ label }) => label.endsWith('F'))
    const type = full === undefined ? 'full' : event.type
    const time = utcLabel(now)
    const first = at
    at += event.segments
    backups.push({
      label: type === 'full' ? `${time}F` : `${full!.label}_${time}${type === 'diff' ? 'D' : 'I'}`,
      prior: type === 'incr' ? ofCluster.at(-1)!.label : undefined,
      id: clusters.length,
      stop: now,
      wal: event.online ? [segment(first, timeline), segment(at, timeline)] : null,
    })
    at++
  }
  return { clusters, backups: entriesOf(backups, clusters), endSeconds: now }
}

/** UTC, so that no clock change affects the order. */
function utcLabel(epochSeconds: number): string {
  return new Date(epochSeconds * 1000)
    .toISOString()
    .replaceAll(/[-:]|\..*/g, '')
    .replace('T', '-')
}

const histories = events.map(historyOf)
const limit = fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined })
const policies: fc.Arbitrary<RetentionPolicy> = fc.record({
  fullType: fc.constantFrom('count' as const, 'time' as const),
  full: limit,
  diff: limit,
  archiveType: fc.constantFrom('full' as const, 'diff' as const, 'incr' as const),
  archive: limit,
})

/** A policy, sometimes with one backup by name or the oldest. */
const cases = fc.record({
  history: histories,
  policy: policies,
  pick: fc.option(fc.nat(), { nil: undefined }),
  oldest: fc.boolean(),
})

function choiceOf(history: SiteHistory, pick: number | undefined, oldest: boolean): ExpireChoice {
  const label = pick === undefined ? undefined : history.backups[pick % Math.max(1, history.backups.length)]?.label
  return label === undefined ? { oldest } : { set: label }
}

function planOf(history: SiteHistory, policy: RetentionPolicy, choice: ExpireChoice = {}) {
  try {
    return planBackups(history.backups, policy, choice, history.endSeconds)
  } catch {
    return undefined // the last full was requested
  }
}

const labels = (backups: readonly { label: string }[]) => backups.map(({ label }) => label).sort(compareLabels)

describe('laws of retention', () => {
  test('keeps no backup that depends on a removed one', () => {
    fc.assert(
      fc.property(cases, ({ history, policy, pick, oldest }) => {
        const plan = planOf(history, policy, choiceOf(history, pick, oldest))
        const kept = new Set(labels(plan?.kept ?? []))
        for (const backup of plan?.kept ?? []) {
          for (const needed of [backup.prior, ...(backup.references ?? [])]) {
            if (needed !== undefined) expect(kept).toContain(needed)
          }
        }
      }),
    )
  })

  test('decides once for each backup, and removes dependents first', () => {
    fc.assert(
      fc.property(cases, ({ history, policy, pick, oldest }) => {
        const plan = planOf(history, policy, choiceOf(history, pick, oldest))
        if (plan === undefined) return
        const gone = plan.groups.flatMap((group) => group.labels)
        expect([...labels(plan.kept), ...gone].sort(compareLabels)).toEqual(labels(history.backups))
        for (const { prior, label } of history.backups) {
          if (prior !== undefined && gone.includes(prior)) expect(gone.indexOf(label)).toBeLessThan(gone.indexOf(prior))
        }
      }),
    )
  })

  test('never removes the last full, nor the last full of the current cluster', () => {
    fc.assert(
      fc.property(cases, ({ history, policy, pick, oldest }) => {
        const plan = planOf(history, policy, choiceOf(history, pick, oldest))
        const fulls = history.backups.filter(({ type }) => type === 'full')
        const newest = fulls.at(-1)
        if (plan === undefined || newest === undefined) return
        const left = plan.kept.filter(({ type }) => type === 'full')
        expect(left.some(({ historyId }) => historyId === newest.historyId)).toBe(true)
      }),
    )
  })

  test('keeps the configured number of newest backups and no older ones', () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 4 }), (history, full) => {
        const plan = planOf(history, { fullType: 'count', full, archiveType: 'full' })!
        const fulls = labels(history.backups.filter(({ type }) => type === 'full'))
        expect(labels(plan.kept.filter(({ type }) => type === 'full'))).toEqual(fulls.slice(-full))
      }),
    )
  })

  test('retention by time keeps a full before every moment of the last D days', () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 1, max: 20 }), (history, full) => {
        const plan = planOf(history, { fullType: 'time', full, archiveType: 'full' })!
        const edge = history.endSeconds - full * DAY
        const before = (backups: readonly BackupEntry[]) =>
          backups.filter((backup) => backup.type === 'full' && backup.timestampStop < edge)
        const gone = history.backups.filter((backup) => !labels(plan.kept).includes(backup.label))
        if (gone.length > 0) expect(before(plan.kept)).toHaveLength(1)
        for (const backup of gone) expect(backup.timestampStop).toBeLessThan(history.endSeconds)
        for (const backup of history.backups) {
          if (backup.type === 'full' && backup.timestampStop >= edge) expect(labels(plan.kept)).toContain(backup.label)
        }
      }),
    )
  })

  test('removes nothing when a policy is applied again', () => {
    fc.assert(
      fc.property(histories, policies, (history, policy) => {
        const { kept } = planOf(history, policy)!
        expect(planBackups(kept, policy, {}, history.endSeconds).groups).toEqual([])
      }),
    )
  })

  test('removes no more than the policy requires after a new backup', () => {
    fc.assert(
      fc.property(histories, policies, (history, policy) => {
        const { kept } = planOf(history, policy)!
        const newest = kept.at(-1)
        const { groups } = planOf(history, policy)!
        for (const { reason, label } of groups) {
          const counted = history.backups.filter(
            (backup) =>
              compareLabels(backup.label, label) > 0 &&
              (reason === 'diff' ? backup.type !== 'incr' : backup.type === 'full'),
          )
          const wanted = reason === 'diff' ? policy.diff! : policy.fullType === 'count' ? policy.full! : 1
          expect(counted.length).toBeGreaterThanOrEqual(wanted)
        }
        if (history.backups.length > 0) expect(newest).toBeDefined()
      }),
    )
  })
})

describe('laws of WAL', () => {
  const walCases = fc.record({
    history: histories,
    policy: policies,
    before: fc.option(fc.integer({ min: 1, max: 400 }), { nil: undefined }),
  })

  function rulesOf({
    history,
    policy,
    before,
  }: {
    history: SiteHistory
    policy: RetentionPolicy
    before: number | undefined
  }) {
    const plan = planOf(history, policy)!
    if (plan.archive === undefined) return { plan, rules: undefined }
    const rules = planArchive({
      archive: archiveInfoOf(history.clusters),
      backup: backupInfoOf(plan.kept, history.clusters),
      kept: plan.kept,
      retention: plan.archive,
      expireBefore: before === undefined ? undefined : segment(before),
    })
    return { plan, rules }
  }

  /** As expire does: whole directories first, then files, and those only up to the last directory. */
  function survives(rule: ArchiveRule, name: string): boolean {
    if (rule.action !== 'ranges') return rule.action === 'keep-all'
    const directory = name.slice(0, 16)
    if (isDirectoryUnneeded(directory, rule.keep)) return false
    return (rule.lastDirectory !== undefined && directory > rule.lastDirectory) || !isWalFileUnneeded(name, rule.keep)
  }

  function* between(start: string, stop: string): Generator<string> {
    const number = (name: string) => parseInt(name.slice(8, 16), 16) * 256 + parseInt(name.slice(16), 16)
    for (let at = number(start); at <= number(stop); at++) yield segment(at, parseInt(start.slice(0, 8), 16))
  }

  test('keeps the WAL that makes a kept backup consistent', () => {
    fc.assert(
      fc.property(walCases, (input) => {
        const { plan, rules } = rulesOf(input)
        for (const backup of plan.kept) {
          const rule = rules?.[backup.historyId - 1]
          if (rule === undefined || backup.archiveStart === null || backup.archiveStop === null) continue
          for (const name of between(backup.archiveStart, backup.archiveStop)) expect(survives(rule, name)).toBe(true)
        }
      }),
      { numRuns: 300 },
    )
  })

  test('keeps all WAL from the newest N backups to the end of the archive', () => {
    fc.assert(
      fc.property(walCases, (input) => {
        const { plan, rules } = rulesOf(input)
        if (rules === undefined || plan.archive === undefined) return
        const types = { full: ['full'], diff: ['full', 'diff'], incr: ['full', 'diff', 'incr'] }[plan.archive.type]
        const counted = plan.kept.filter(({ label }) => types.includes(typeOfLabel(label)))
        for (const { archiveStart, historyId } of counted.slice(-plan.archive.count)) {
          const rule = rules[historyId - 1]!
          if (archiveStart === null) continue
          const timeline = parseInt(archiveStart.slice(0, 8), 16)
          for (const later of [0, 1, 255, 256, 1000, 70_000]) {
            const number = parseInt(archiveStart.slice(8, 16), 16) * 256 + parseInt(archiveStart.slice(16), 16) + later
            expect(survives(rule, segment(number, timeline))).toBe(true)
          }
          expect(survives(rule, segment(1, timeline + 1))).toBe(true)
          if (rule.action === 'ranges' && rule.firstTimeline !== undefined) {
            expect(rule.firstTimeline <= archiveStart.slice(0, 8)).toBe(true)
          }
        }
      }),
      { numRuns: 300 },
    )
  })

  test('never removes all WAL of the current cluster', () => {
    fc.assert(
      fc.property(walCases, (input) => {
        const { rules } = rulesOf(input)
        if (rules !== undefined) expect(rules.at(-1)?.action).not.toBe('remove-all')
      }),
    )
  })

  test('removes WAL before all backups when there are enough backups', () => {
    fc.assert(
      fc.property(walCases, (input) => {
        const { rules } = rulesOf({ ...input, before: undefined })
        for (const rule of rules ?? []) {
          if (rule.action !== 'ranges') continue
          const first = rule.keep.map(({ start }) => start).sort()[0]!
          if (first > segment(1)) expect(survives(rule, segment(1))).toBe(false)
        }
      }),
    )
  })
})
