import { expect, test } from 'vitest'
import { examine, type Sources } from '../../../../src/core/doctor/examine.ts'
import type { ClusterFacts, ServerState, Site, StanzaState } from '../../../../src/core/doctor/facts.ts'
import { defineRule, type Rule } from '../../../../src/core/doctor/rule.ts'
import { archiveTimeout } from '../../../../src/core/doctor/rules/archive-timeout.ts'
import { backupAge } from '../../../../src/core/doctor/rules/backup-age.ts'
import { fullAge } from '../../../../src/core/doctor/rules/full-age.ts'
import { idleSlot } from '../../../../src/core/doctor/rules/idle-slot.ts'
import { spool } from '../../../../src/core/doctor/rules/spool.ts'
import { walGap } from '../../../../src/core/doctor/rules/wal-gap.ts'
import type { InfoBackup } from '../../../../src/core/info/report.ts'
import { PgtsError } from '../../../../src/util/error.ts'

const DAY_MS = 86_400_000
const NOW_MS = Date.parse('2026-03-01T00:00:00Z')

function aSite(more: Partial<Site> = {}): Site {
  return {
    ...{ stanza: 'main', nowMs: NOW_MS, pgPath: '/pg', lockPath: '/lock', archiveAsync: false },
    pgts: (command, ...options) => ['pgts', '--stanza=main', ...options, command].join(' '),
    onClusterHost: (command) => command,
    psql: (sql) => `psql -c "${sql}"`,
    root: (...words) => `sudo ${words.join(' ')}`,
    repos: [
      {
        ...{ key: 1, type: 'posix', path: '/repo', encrypted: false, verifyTls: true },
        retention: { full: 2, fullType: 'count', calendar: false },
      },
    ],
    promised: { verifyAgeMs: 35 * DAY_MS, drillAgeMs: 35 * DAY_MS },
    ...more,
  }
}

const CLUSTER: ClusterFacts = { systemId: 1n, version: '18', dataChecksums: true, walBytes: 0 }

/** Sources of which only these facts apply. */
function sourcesOf(given: Partial<Sources>): Sources {
  const absent = async () => undefined
  return {
    ...{ configuration: absent, cluster: absent, server: absent, archiving: absent, host: absent },
    ...{ repositories: absent, stores: absent },
    ...given,
  }
}

function aRule(id: string, needs: Rule['needs'], found: ReturnType<Rule['check']>): Rule {
  return defineRule({ id, area: 'server', severity: 'warning', reports: 'x', why: 'y', needs, check: () => found })
}

const examined = (rules: readonly Rule[], sources: Partial<Sources>, deadlineMs = 60_000) =>
  examine({ site: aSite(), rules, sources: sourcesOf(sources), deadlineMs, signal: new AbortController().signal })

test('gathers a fact once, and sorts the findings by severity', async () => {
  let count = 0
  const cluster = async () => {
    count++
    return CLUSTER
  }
  const rules = [
    aRule('a', ['cluster'], [{ message: 'm', next: [], severity: 'notice' }]),
    aRule('b', ['cluster'], [{ message: 'm', next: [], repoKey: 2 }]),
    aRule('c', ['cluster'], [{ message: 'm', next: [], severity: 'error' }]),
    aRule('d', ['cluster'], []),
  ]
  const { findings, checked, notChecked } = await examined(rules, { cluster })
  expect(findings.map(({ rule, severity, repoKey }) => [rule, severity, repoKey])).toEqual([
    ...[
      ['c', 'error', undefined],
      ['b', 'warning', 2],
    ],
    ['a', 'notice', undefined],
  ])
  expect([count, checked, notChecked]).toEqual([1, 4, []])
})

test('reports a fact that cannot be read, and the rules that it prevents, and checks the others', async () => {
  const rules = [
    aRule('a', ['server'], [{ message: 'm', next: [] }]),
    aRule('b', ['cluster'], [{ message: 'm', next: [] }]),
    aRule('c', ['archiving'], [{ message: 'm', next: [] }]),
  ]
  const server = async () => {
    throw new PgtsError('db-connect', 'cannot connect', { hints: ['start it'] })
  }
  const { findings, checked, notChecked } = await examined(rules, { server, cluster: async () => CLUSTER })
  expect(findings).toMatchObject([
    {
      rule: 'server-unreadable',
      severity: 'error',
      message: 'cannot connect',
      next: ['# start it', 'psql -c "select 1"'],
    },
    { rule: 'b' },
  ])
  expect(notChecked).toEqual([{ rule: 'a', fact: 'server' }])
  // Rules about what the site does not have are neither checked nor listed.
  expect(checked).toBe(1)
})

test('gives up a fact at the deadline, and aborts what gathers it', async () => {
  let aborted = false
  const stores = (signal: AbortSignal) =>
    new Promise<never>(() => signal.addEventListener('abort', () => (aborted = true)))
  const { findings } = await examined([aRule('a', ['stores'], [])], { stores }, 20)
  expect(findings).toMatchObject([{ rule: 'stores-unreadable', message: 'no answer within 0 s' }])
  expect(aborted).toBe(true)
})

function aBackup(daysAgo: number, type: InfoBackup['type'] = 'full'): InfoBackup {
  const seconds = (NOW_MS - daysAgo * DAY_MS) / 1000
  return {
    ...{ repoKey: 1, historyId: 1, label: `backup-${daysAgo}`, type, prior: null, references: null },
    ...{
      archiveStart: null,
      archiveStop: null,
      backrestFormat: 5,
      backrestVersion: '2',
      sizeBytes: 0,
      sizeDeltaBytes: 0,
    },
    ...{ repoSizeBytes: 0, repoSizeDeltaBytes: 0, annotations: new Map() },
    ...{ timestampStart: seconds, timestampStop: seconds },
  }
}

function repositoriesWith(state: Partial<StanzaState>) {
  const identity = { systemId: 1n, version: '18' }
  const stanza: StanzaState = {
    ...{ current: identity, archiveCurrent: identity, archives: [], backups: [], unfinished: [] },
    ...{ verified: new Map(), infoMs: NOW_MS },
    ...state,
  }
  return { repositories: [{ key: 1, display: '/repo', stanza }] }
}

test.each([
  ['a daily schedule', [1.2, 2.2, 3.2, 4.2], undefined],
  ['a daily schedule that stopped', [2.1, 3.1, 4.1, 5.1], 'twice the usual interval, but at least 26 hours, is 2 d'],
  ['a weekly schedule', [13, 20, 27], undefined],
  ['a weekly schedule that stopped', [15, 22, 29], 'twice the usual interval, but at least 26 hours, is 14 d'],
  ['an hourly schedule', [1, 1 + 1 / 24, 1 + 2 / 24], undefined],
  ['one backup', [7], undefined],
  ['one old backup', [9], 'the limit without a known schedule is 8 d'],
])('backup-age with %s', (_, ages, limit) => {
  const found = backupAge.check(repositoriesWith({ backups: ages.map((age) => aBackup(age, 'incr')) }), aSite())
  expect(found.map(({ message }) => message.replace(/^the last backup is .* old; /, ''))).toEqual(
    limit === undefined ? [] : [limit],
  )
})

test('backup-age with a promise does not look at the schedule', () => {
  const promised = { backupAgeMs: DAY_MS, verifyAgeMs: DAY_MS, drillAgeMs: DAY_MS }
  const repositories = repositoriesWith({ backups: [1.2, 2.2, 3.2].map((age) => aBackup(age)) })
  expect(backupAge.check(repositories, aSite({ promised }))).toMatchObject([
    { repoKey: 1, message: 'the last backup is 1 d 4 h old; doctor-backup-age is 1 d' },
  ])
})

test('full-age is limited by retention of days, because nothing expires before the next full backup', () => {
  const [repo] = aSite().repos
  const byTime = aSite({ repos: [{ ...repo!, retention: { full: 14, fullType: 'time', calendar: false } }] })
  const repositories = repositoriesWith({ backups: [aBackup(20), aBackup(1, 'incr')] })
  expect(fullAge.check(repositories, aSite())).toEqual([])
  expect(fullAge.check(repositories, byTime)).toMatchObject([
    { message: 'the last full backup is 20 d old; the limit is 14 d' },
  ])
})

test('wal-gap is silent where expire removed WAL between two backups, and an error after the last one', () => {
  const name = (number: number) => `0000000100000000${number.toString(16).toUpperCase().padStart(8, '0')}`
  const backups = [
    { ...aBackup(20), archiveStart: name(3), archiveStop: name(4) },
    { ...aBackup(10), archiveStart: name(9), archiveStop: name(9) },
  ]
  const micros = (daysAgo: number) => (NOW_MS - daysAgo * DAY_MS) * 1000
  const windowWith = (from: number, to: number | undefined, first: number, last: number) => ({
    ...{ archiveId: '18-1', timeline: 1, from: micros(20), unscanned: 0 },
    gaps: [
      {
        from: micros(from),
        ...(to === undefined ? {} : { to: micros(to) }),
        first: name(first),
        last: name(last),
        missing: last - first + 1,
      },
    ],
  })
  const check = (...gap: Parameters<typeof windowWith>) => {
    const archives = [
      { repoKey: 1, historyId: 1, archiveId: '18-1', min: name(3), max: name(20), window: windowWith(...gap) },
    ] as unknown as StanzaState['archives']
    return walGap.check(repositoriesWith({ backups, archives }), aSite()).map(({ severity }) => severity)
  }
  expect(check(20, 10, 5, 8)).toEqual([])
  expect(check(20, 10, 6, 8)).toEqual(['warning'])
  expect(check(5, undefined, 12, 13)).toEqual(['error'])
})

const SERVER: ServerState = {
  ...{ versionNum: 180000, inRecovery: false, pendingRestart: [], slots: [], clockOffsetMs: 0 },
  settings: new Map([
    ['archive_timeout', '0'],
    ['wal_segment_size', '16777216'],
  ]),
}

test('archive-timeout is a warning when the last segment was archived more than an hour ago', () => {
  const archiving = (agoMs: number) => ({
    ...{ stanza: 'main', program: '/pgts', nowMs: NOW_MS, pgPath: '/pg' },
    server: {
      ...{ mode: 'on' as const, command: 'pgts', library: '', inRecovery: false, segmentSize: 16_777_216 },
      ...{ archivedCount: 1, failedCount: 0, lastArchived: { file: 'x', timeMs: NOW_MS - agoMs } },
    },
  })
  const severity = (agoMs: number) => archiveTimeout.check({ server: SERVER, archiving: archiving(agoMs) }, aSite())
  expect(severity(60_000)).toMatchObject([{ severity: 'notice', message: 'archive_timeout is 0' }])
  expect(severity(7_200_000)).toMatchObject([
    { severity: 'warning', message: 'archive_timeout is 0, and the last segment was archived 2 h ago' },
  ])
})

test('idle-slot reports a lost slot, and neither an active one nor one that keeps less than a segment', () => {
  const slots = [
    { name: 'lost', active: false, walStatus: 'lost' },
    { name: 'active', active: true, retainedBytes: 10 ** 9 },
    { name: 'recent', active: false, retainedBytes: 1000 },
  ]
  expect(idleSlot.check({ server: { ...SERVER, slots } }, aSite()).map(({ message }) => message)).toEqual([
    'replication slot lost has lost the WAL it needs',
  ])
})

test('spool is a warning on a network file system', () => {
  const at = (kind: 'disk' | 'memory' | 'network') =>
    spool.check(
      { host: { disks: [], locks: [], spool: { path: '/spool', kind } }, configuration: { warnings: [], files: [] } },
      aSite(),
    )
  expect(at('disk')).toEqual([])
  expect(at('memory')).toEqual([])
  expect(at('network')).toMatchObject([
    { severity: 'warning', message: 'spool-path /spool is on a network file system' },
  ])
})
