import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseArchiveInfo, serialiseArchiveInfo } from '../../src/format/archive-info.ts'
import { parseBackupInfo, serialiseBackupInfo } from '../../src/format/backup-info.ts'
import { systemClock } from '../../src/util/clock.ts'
import { EXIT_CODES, isPgtsError } from '../../src/util/error.ts'
import { countCells } from '../support/run/cells.ts'
import { giveToTestUser, isInstalled, makeTestDir } from '../support/postgres/postgres.ts'
import { runInProcess } from '../support/processes/in-process.ts'
import { recordingLog } from '../support/builders/wal.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { aSite, PGBACKREST, type Site } from '../support/sites/site.ts'

/**
 * One repository with a full and an incr; one segment is not archived yet. Copies of it are damaged, and every command
 * runs on each: its message, the resulting repository, and whether pgbackrest works with that.
 */
const installed = PGBACKREST.includes('/') || isInstalled(PGBACKREST)
let site: Site
let wal: string
let full: string
let incr: string

beforeAll(async () => {
  const options = { 'repo1-bundle': 'y', 'archive-timeout': '30s', 'repo1-retention-full': '1' }
  site = await aSite({ walSegsizeMb: 1, options })
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  await site.cluster.query('create table t as select 1')
  await site.pgtsOk('--type=incr', 'backup')
  ;[full, incr] = labelsIn(site.repo) as [string, string]
  // From here on the server archives nothing; one segment remains to be pushed.
  await site.cluster.query("alter system set archive_command = '/bin/true pgbackrest'")
  await site.cluster.query('select pg_reload_conf()')
  await site.cluster.query('create table u as select 1')
  const rows = await site.cluster.query('select pg_walfile_name(pg_current_wal_insert_lsn()) as name')
  await site.cluster.query('select pg_switch_wal()')
  const name = String(rows[0]?.['name'])
  wal = join(site.dir, 'wal', name)
  mkdirSync(join(site.dir, 'wal'))
  cpSync(join(site.cluster.dataDir, 'pg_wal', name), wal)
  // The archiver reads its configuration later: it may still write to the repository.
  await untilArchived(site.cluster)
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())

function labelsIn(repo: string): string[] {
  const names = readdirSync(join(repo, 'backup/main'))
  return names.filter((name) => /^\d{8}-\d{6}F/.test(name)).sort()
}

/** Commands that only read are first and share a copy. */
const LOOKING = {
  info: () => ['--output=json', 'info'],
  check: () => ['--no-archive-check', 'check'],
  verify: () => ['--output=json', 'verify'],
  'archive-get': () => ['archive-get', firstSegment(), join(makeTestDir('get'), 'RECOVERYXLOG')],
  restore: () => [`--pg1-path=${makeTestDir('target')}`, 'restore'],
}
const CHANGING = {
  'archive-push': () => ['archive-push', wal],
  expire: () => ['expire'],
  backup: () => ['--type=incr', '--no-archive-check', 'backup'],
  'stanza-create': () => ['stanza-create'],
  'stanza-upgrade': () => ['stanza-upgrade'],
}
const COMMANDS = { ...LOOKING, ...CHANGING }
type Command = keyof typeof COMMANDS

function firstSegment(): string {
  const [directory = ''] = readdirSync(join(site.repo, 'archive/main/15-1')).filter((name) =>
    /^[0-9A-F]{16}$/.test(name),
  )
  return readdirSync(join(site.repo, 'archive/main/15-1', directory))
    .sort()[0]!
    .slice(0, 24)
}

interface Answer {
  readonly code: number
  /** Its complete output. */
  readonly words: string
}

async function ask(command: Command, repo: string, ...more: string[]): Promise<Answer> {
  const argv = [`--config=${site.config}`, '--stanza=main', `--repo1-path=${repo}`, ...more, ...COMMANDS[command]()]
  const log = recordingLog()
  try {
    const { outcome } = await runInProcess(argv, repo, undefined, {}, { clock: systemClock, log })
    return { code: outcome.exitCode ?? 0, words: [...log.lines, outcome.text ?? ''].join('\n') }
  } catch (error) {
    if (!isPgtsError(error)) throw error
    return { code: EXIT_CODES[error.code], words: [...log.lines, error.message, ...error.hints].join('\n') }
  }
}

type Expected = readonly [code: number, words?: RegExp]
const FINE: Expected = [0]

interface State {
  readonly name: string
  readonly make: (repo: string) => void
  /** Status code and labels of info. */
  readonly shows?: readonly [number, readonly ('full' | 'incr')[]]
  /** Commands that are not named are FINE. */
  readonly says: Partial<Record<Command, Expected>>
  /** Commands after which the repository is valid for both programs; pgbackrest makes a backup after the first. */
  readonly repairedBy: readonly Command[]
  /** Labels that are left after the repair. */
  readonly left?: readonly ('full' | 'incr')[]
}

const of = (kind: 'archive' | 'backup', name: string) => (repo: string) => join(repo, kind, 'main', name)
const backupInfo = of('backup', 'backup.info')
const archiveInfo = of('archive', 'archive.info')
const manifest = (repo: string) => join(repo, 'backup/main', incr, 'backup.manifest')
const bothOf = (path: string) => [path, `${path}.copy`]
const remove = (...paths: string[]) => paths.forEach((path) => rmSync(path))

const copied = (name: string) => new RegExp(`${name} is unusable, so its copy was used`)
const copiedBackup: Expected = [
  0,
  /backup\.info is unusable, so its copy[^]*the next backup, expire or stanza-create writes/,
]
const copiedArchive: Expected = [0, /archive\.info is unusable, so its copy[^]*the next backup or stanza-create writes/]
const writtenAgain = (name: string): Expected => [0, new RegExp(`${name} was rewritten`)]
const lost = /was in use, the file was lost: remove nothing, and restore it/
const foreign = /is of another cluster|does not belong|belongs to|no archive of this cluster/

const readsBackupInfo = {
  check: copiedBackup,
  restore: copiedBackup,
  expire: copiedBackup,
  backup: copiedBackup,
  'stanza-upgrade': copiedBackup,
}
const readsArchiveInfo = {
  check: copiedArchive,
  'archive-get': copiedArchive,
  'archive-push': copiedArchive,
  expire: copiedArchive,
  backup: copiedArchive,
  'stanza-upgrade': copiedArchive,
}

/** backup.info without its last backup, as after a kill between the writes of the file and its copy. */
function older(bytes: Buffer): Uint8Array {
  const info = parseBackupInfo(bytes)
  return serialiseBackupInfo({ ...info, backups: info.backups.slice(0, 1) }, info.backrestVersion)
}

function rewrite(paths: readonly string[], change: (bytes: Buffer) => Uint8Array): void {
  for (const path of paths) writeFileSync(path, change(readFileSync(path)))
}

/** As after an initdb: the same version, another system identifier. */
function ofAnotherCluster(repo: string): void {
  const other = <T extends object>(history: readonly T[]) =>
    history.map((entry) => ({ ...entry, systemId: 7_000_000_000_000_000_001n }))
  rewrite(bothOf(archiveInfo(repo)), (bytes) => {
    const info = parseArchiveInfo(bytes)
    return serialiseArchiveInfo({ ...info, history: other(info.history) }, info.backrestVersion)
  })
  rewrite(bothOf(backupInfo(repo)), (bytes) => {
    const info = parseBackupInfo(bytes)
    return serialiseBackupInfo({ ...info, history: other(info.history) }, info.backrestVersion)
  })
}

const STATES: readonly State[] = [
  {
    name: 'backup.info is missing, its copy exists',
    make: (repo) => remove(backupInfo(repo)),
    says: {
      ...readsBackupInfo,
      verify: [104, /backup\/main\/backup\.info does not exist/],
      'stanza-create': writtenAgain('backup.info'),
    },
    repairedBy: ['expire', 'backup', 'stanza-create', 'stanza-upgrade'],
  },
  {
    name: 'backup.info is truncated',
    make: (repo) => truncateSync(backupInfo(repo), 100),
    says: {
      ...readsBackupInfo,
      verify: [104, /backup\.info cannot be used/],
      'stanza-create': writtenAgain('backup.info'),
    },
    repairedBy: ['backup', 'expire', 'stanza-create', 'stanza-upgrade'],
  },
  {
    name: 'the copy of backup.info is older',
    make: (repo) => rewrite([`${backupInfo(repo)}.copy`], older),
    says: { verify: [104, /copy differs from/], 'stanza-create': writtenAgain('backup.info') },
    repairedBy: ['stanza-create', 'expire', 'backup', 'stanza-upgrade'],
  },
  {
    name: 'the copy of archive.info is missing',
    make: (repo) => remove(`${archiveInfo(repo)}.copy`),
    says: { verify: [104, /archive\.info\.copy does not exist/], 'stanza-create': writtenAgain('archive.info.copy') },
    repairedBy: ['backup', 'stanza-create', 'stanza-upgrade'],
  },
  {
    name: 'archive.info is truncated',
    make: (repo) => truncateSync(archiveInfo(repo), 60),
    says: {
      ...readsArchiveInfo,
      verify: [104, /archive\.info cannot be used/],
      'stanza-create': writtenAgain('archive.info'),
    },
    repairedBy: ['stanza-create', 'backup', 'stanza-upgrade'],
  },
  {
    name: 'archive.info is missing',
    make: (repo) => remove(...bothOf(archiveInfo(repo))),
    shows: [99, []],
    says: {
      check: [55, lost],
      verify: [104, /archive\.info is unusable/],
      'archive-get': [55, lost],
      'archive-push': [55, lost],
      expire: [104, lost],
      backup: [55, lost],
      'stanza-create': [55, /backup\.info exists but archive\.info is missing/],
      'stanza-upgrade': [55, lost],
    },
    repairedBy: [],
  },
  {
    name: 'backup.info is missing',
    make: (repo) => remove(...bothOf(backupInfo(repo))),
    shows: [3, []],
    says: {
      check: [55, lost],
      verify: [104, /backup\.info is unusable/],
      restore: [75, lost],
      expire: [104, lost],
      backup: [55, lost],
      'stanza-create': [55, /archive\.info exists but backup\.info is missing/],
      'stanza-upgrade': [55, lost],
    },
    repairedBy: [],
  },
  {
    name: 'both are missing, backups and WAL exist',
    make: (repo) => remove(...bothOf(backupInfo(repo)), ...bothOf(archiveInfo(repo))),
    shows: [3, []],
    says: {
      check: [55, lost],
      verify: [104, /(archive|backup)\.info is unusable/],
      'archive-get': [55, lost],
      'archive-push': [55, lost],
      restore: [75, lost],
      expire: [104, lost],
      backup: [55, lost],
      'stanza-create': [40, /not empty, but without info files[^]*do not remove the other files/],
      'stanza-upgrade': [55, lost],
    },
    repairedBy: [],
  },
  {
    name: 'a backup is listed whose manifest is missing',
    make: (repo) => remove(...bothOf(manifest(repo))),
    says: {
      verify: [104, /manifest missing/],
      restore: [55, /the next backup or expire removes this one/],
      expire: [0, /is removed from backup\.info: its manifest does not exist/],
      backup: [0, /is removed from backup\.info: its manifest does not exist/],
    },
    repairedBy: ['expire', 'backup'],
    left: ['full'],
  },
  {
    name: 'a backup is listed of whose manifest only the copy exists',
    make: (repo) => remove(manifest(repo)),
    says: {
      verify: [104, /backup\.manifest does not exist/],
      restore: [0, /is unusable, so its copy was used[^]*over the unusable file/],
      expire: [0, /is missing and is written again from its copy/],
      backup: [0, /is missing and is written again from its copy/],
    },
    repairedBy: ['expire', 'backup'],
  },
  {
    name: 'a manifest is damaged, its copy is intact',
    make: (repo) => truncateSync(manifest(repo), 1000),
    says: {
      verify: [104, /backup\.manifest cannot be used/],
      restore: [0, copied('backup.manifest')],
      backup: [0, copied('backup.manifest')],
    },
    repairedBy: [],
  },
  {
    name: 'a backup is not listed whose manifest exists',
    make: (repo) => rewrite(bothOf(backupInfo(repo)), older),
    shows: [0, ['full']],
    says: {
      verify: [0, /is not in backup\.info; the next backup or expire adds it/],
      expire: [0, /was found in the repository and is added/],
      backup: [0, /was found in the repository and is added/],
    },
    repairedBy: ['expire', 'backup'],
  },
  {
    name: 'the stanza is of another cluster',
    make: ofAnotherCluster,
    says: {
      check: [28, foreign],
      verify: [104, /it was written by another cluster/],
      'archive-get': [44, foreign],
      'archive-push': [44, foreign],
      backup: [51, foreign],
      'stanza-create': [28, /belongs to another cluster[^]*run stanza-upgrade/],
    },
    repairedBy: [],
  },
]

const MENDED = STATES.flatMap(({ repairedBy }) => repairedBy).length
const cell = countCells('bad states', MENDED)

describe.each(STATES)('$name', ({ make, shows = [0, ['full', 'incr']], says, repairedBy, left = ['full', 'incr'] }) => {
  function aCopy(): string {
    const repo = join(makeTestDir('state'), 'repo')
    cpSync(site.repo, repo, { recursive: true, verbatimSymlinks: true })
    make(repo)
    return repo
  }
  const named = (which: readonly ('full' | 'incr')[]) => which.map((one) => ({ full, incr })[one])

  test('every command reports the fault and the next step, and a repaired repository is valid for both programs', async () => {
    const shared = aCopy()
    for (const command of Object.keys(COMMANDS) as Command[]) {
      const repo = command in LOOKING ? shared : aCopy()
      const [code, words = /^/] = says[command] ?? FINE
      const answer = await ask(command, repo)
      expect([command, answer.code, answer.words]).toEqual([command, code, expect.stringMatching(words)])
      expect(labelsIn(repo), command).toContain(full)
      if (command === 'info') {
        const [{ status, backup }] = JSON.parse(answer.words) as [InfoOfStanza]
        expect([status.code, backup.map(({ label }) => label)]).toEqual([shows[0], named(shows[1])])
      }
      if (repairedBy.includes(command)) await expectRepaired(command, repo)
    }
  }, 120_000)

  interface Verified {
    problem: { level: string }[]
    backup: { label: string; status: string }[]
  }
  interface InfoOfStanza {
    status: { code: number }
    backup: { label: string }[]
  }

  async function expectRepaired(command: Command, repo: string): Promise<void> {
    const after = `after ${command}`
    for (const path of [backupInfo(repo), archiveInfo(repo)])
      expect(readFileSync(`${path}.copy`).equals(readFileSync(path)), `${after} ${path}`).toBe(true)
    const labels = labelsIn(repo).filter((label) =>
      readdirSync(join(repo, 'backup/main', label)).includes('backup.manifest'),
    )
    // A backup adds its label.
    expect(labels.slice(0, left.length), after).toEqual(named(left))
    const { words } = await ask('verify', repo)
    const [{ problem, backup: proven }] = JSON.parse(words.slice(words.indexOf('[{'))) as [Verified]
    expect([words, problem.filter(({ level }) => level === 'error')], after).toEqual([words, []])
    for (const label of named(left)) {
      expect(proven.find((one) => one.label === label)?.status, after).toBe('valid')
    }
    if (!installed) return
    giveToTestUser(join(repo, '..'))
    const { stdout } = await site.pgbackrestOk(`--repo1-path=${repo}`, '--output=json', 'info')
    const [{ status, backup }] = JSON.parse(stdout) as [InfoOfStanza]
    expect([status.code, backup.map(({ label }) => label)], after).toEqual([0, labels])
    if (command === repairedBy[0]) {
      await site.pgbackrestOk(`--repo1-path=${repo}`, '--no-archive-check', '--type=incr', 'backup')
      // The WAL of that backup is in the archive of the site, not of this copy.
      expect(await ask('restore', repo, '--no-restore-check'), after).toMatchObject({ code: 0 })
    }
    cell(`${Object.keys(COMMANDS).indexOf(command)} ${labels.join()} ${repo}`)
  }
})
