import { beforeEach, describe, expect, test } from 'vitest'
import { expire, expireAfterBackup } from '../../../src/commands/expire.ts'
import type { CommandContext } from '../../../src/commands/context.ts'
import { commandRow } from '../../../src/config/command-table.ts'
import type { OptionsOf, RepoOptions } from '../../../src/config/resolve.ts'
import { memoryStorage, type MemoryStorage } from '../../../src/storage/memory.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { PgtsError } from '../../../src/util/error.ts'
import { aFile } from '../../support/builders/manifest.ts'
import { fillRepository, namesOf, segments } from '../../support/builders/repository.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'

const F1 = '20260101-000000F'
const F2 = '20260201-000000F'

let repos: MemoryStorage[]
let locks: string[]
beforeEach(async () => {
  locks = []
  repos = [memoryStorage(), memoryStorage(), memoryStorage()]
  for (const repo of repos) await fillRepository(repo, { backups: [{ label: F1 }, { label: F2 }] })
})

function context(options: Partial<OptionsOf<'expire'>> = {}, repo: Partial<RepoOptions<'expire'>> = {}) {
  const log = recordingLogger()
  return {
    stanza: 'main',
    log,
    clock: systemClock,
    progress: { phase: () => undefined, done: () => undefined, plan: async () => undefined },
    signal: new AbortController().signal,
    stanzaHints: [],
    isSet: () => false,
    options: {
      checksumPageError: true,
      dryRun: false,
      oldest: false,
      repo: repos.map((_, index) => ({
        key: index + 1,
        retentionFullType: 'count',
        retentionFull: 1,
        retentionArchiveType: 'full',
        symlink: true,
        ...repo,
      })),
      ...options,
    },
    repositories: () => Promise.resolve(repos.map((storage, index) => ({ key: index + 1, storage }))),
    lease: () => Promise.resolve({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    lock: () => {
      locks.push(...(commandRow('expire').locks ?? []))
      return Promise.resolve({ [Symbol.asyncDispose]: async () => void locks.push('released') })
    },
  } as unknown as CommandContext<'expire'> & { readonly log: typeof log }
}

const labelsIn = async (repo: MemoryStorage) =>
  (await namesOf(repo, 'backup/main')).flatMap((name) => /\/(2[^/]*)\/backup\.manifest$/.exec(name)?.[1] ?? [])

test('expire removes from every repository, under the lock of type backup', async () => {
  const reports = await expire(context())
  expect(reports.map(({ repoKey, directories }) => [repoKey, directories])).toEqual([1, 2, 3].map((key) => [key, [F1]]))
  expect(locks).toEqual(['backup', 'released'])
})

test('a repository that fails does not prevent expire of the others, and is reported', async () => {
  for (const name of ['backup/main/backup.info', 'backup/main/backup.info.copy']) repos[1]!.files.delete(name)
  const ctx = context()
  await expect(expire(ctx)).rejects.toThrow(expect.objectContaining({ code: 'command', exitCode: 104 }))
  expect(await labelsIn(repos[0]!)).toEqual([F2])
  expect(await labelsIn(repos[1]!)).toEqual([F1, F2])
  expect(await labelsIn(repos[2]!)).toEqual([F2])
  expect(ctx.log.lines.filter((line) => line.startsWith('error'))).toEqual([
    expect.stringMatching(
      /^error: repo2: unable to open missing file '.*backup\.info' for read: neither it nor its copy exists\nHINT: run stanza-create/,
    ),
  ])
  expect(locks.at(-1)).toBe('released')
})

describe('after a backup', () => {
  function afterBackup() {
    const ctx = context()
    const events: string[] = []
    const backup = Object.assign(ctx, {
      command: 'backup',
      continueAs: (command: string) => void events.push(`continue as ${command}`),
      refuseWhenStopped: () => Promise.resolve(),
    }) as unknown as CommandContext<'backup'> & { readonly log: typeof ctx.log }
    const lock = {
      update: (progress: object) => void events.push(`progress ${JSON.stringify(progress)}`),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
    return { backup, lock, events }
  }

  test('backup continues as expire and removes from every repository', async () => {
    const { backup, lock, events } = afterBackup()
    await expireAfterBackup(backup, lock, 1)
    expect(await Promise.all(repos.map(labelsIn))).toEqual([[F2], [F2], [F2]])
    expect(events).toEqual(['continue as expire', 'progress {}'])
  })

  test('a repository that fails is an error with exit code 104, and the others are expired', async () => {
    for (const name of ['backup/main/backup.info', 'backup/main/backup.info.copy']) repos[1]!.files.delete(name)
    const { backup, lock } = afterBackup()
    await expect(expireAfterBackup(backup, lock, 1)).rejects.toThrow(expect.objectContaining({ exitCode: 104 }))
    expect(await Promise.all(repos.map(labelsIn))).toEqual([[F2], [F1, F2], [F2]])
    expect(backup.log.lines.filter((line) => line.startsWith('error: repo2: '))).toHaveLength(1)
  })

  test('nothing is removed when a stop file was written during the backup', async () => {
    const { backup, lock } = afterBackup()
    const stopped = { ...backup, refuseWhenStopped: () => Promise.reject(new PgtsError('stop', 'stopped')) }
    await expect(expireAfterBackup(stopped, lock, 1)).rejects.toThrow(expect.objectContaining({ exitCode: 62 }))
    expect(await Promise.all(repos.map(labelsIn))).toEqual([
      [F1, F2],
      [F1, F2],
      [F1, F2],
    ])
  })
})

test('without retention nothing is removed', async () => {
  await expire(context({}, { retentionFull: undefined }))
  expect(await labelsIn(repos[0]!)).toEqual([F1, F2])
})

test('a dry run writes nothing', async () => {
  await expire(context({ dryRun: true }))
  expect(await labelsIn(repos[0]!)).toEqual([F1, F2])
})

describe('expire --set', () => {
  test('removes the backup from the repository that has it', async () => {
    await fillRepository(repos[1]!, { backups: [{ label: F2 }] })
    repos = [repos[0]!]
    const reports = await expire(context({ set: F1 }))
    expect(reports[0]?.groups).toEqual([{ reason: 'set', label: F1, labels: [F1] }])
  })

  test('warns of an unknown backup and removes nothing', async () => {
    const ctx = context({ set: '20250101-000000F' })
    await expire(ctx)
    expect(ctx.log.lines.filter((line) => line.startsWith('warn'))).toEqual([
      expect.stringMatching(/20250101-000000F does not exist\nHINT: run info/),
    ])
    expect(await labelsIn(repos[0]!)).toEqual([F1, F2])
  })
})

describe('expire refuses, before anything is changed,', () => {
  test.each([
    ['an invalid label', { set: 'latest' }, 'option-invalid-value', /'latest' is not a backup label/],
    ['--set with --oldest', { set: F1, oldest: true }, 'option-invalid', /cannot be used together/],
    [
      'a partial segment',
      { archiveExpireBefore: '000000010000000000000001.partial' },
      'option-invalid-value',
      /not the name of a WAL segment/,
    ],
  ])('%s', async (_, options, code, words) => {
    const error = await expire(context(options)).catch((cause: unknown) => cause as PgtsError)
    expect(error).toMatchObject({ code, message: expect.stringMatching(words) as string })
    expect(locks).toEqual([])
  })
})

describe('when the oldest backup that remains has invalid page checksums', () => {
  beforeEach(async () => {
    repos = [memoryStorage()]
    const files = [aFile('pg_data/base/1/1', 'old', { checksumPage: false, checksumPageErrors: [3] })]
    const wal = { '15-1': segments(1, 14) }
    await fillRepository(repos[0]!, { backups: [{ label: F1 }, { label: F2, manifest: { files } }], wal })
  })
  const everything = () => namesOf(repos[0]!)

  test('expire removes neither backups nor WAL', async () => {
    const [ctx, before] = [context(), await everything()]
    await expect(expire(ctx)).rejects.toThrow(expect.objectContaining({ exitCode: 104 }))
    expect(ctx.log.lines.find((line) => line.startsWith('error'))).toMatch(
      new RegExp(`^error: repo1: the oldest remaining backup ${F2} would contain invalid page checksums`),
    )
    expect(await everything()).toEqual(before)
  })

  test('expire removes them with checksum-page-error=n, and warns', async () => {
    const ctx = context({ checksumPageError: false })
    await expire(ctx)
    expect(await labelsIn(repos[0]!)).toEqual([F2])
    expect(ctx.log.lines.join('\n')).toMatch(/warn: .* would contain invalid page checksums/)
  })

  test('expire after a backup refuses by default, and does not when the backup has checksum-page-error=n', async () => {
    const lock = { update: () => undefined, [Symbol.asyncDispose]: () => Promise.resolve() }
    const backup = (isSet: boolean) =>
      Object.assign(context({ checksumPageError: false }), {
        command: 'backup',
        continueAs: () => undefined,
        refuseWhenStopped: () => Promise.resolve(),
        isSet: () => isSet,
      }) as unknown as CommandContext<'backup'>
    await expect(expireAfterBackup(backup(false), lock, 1)).rejects.toThrow(expect.objectContaining({ exitCode: 104 }))
    expect(await labelsIn(repos[0]!)).toEqual([F1, F2])
    await expireAfterBackup(backup(true), lock, 1)
    expect(await labelsIn(repos[0]!)).toEqual([F2])
  })

  test('nothing is refused while no backup is to be removed', async () => {
    await expire(context({}, { retentionFull: 2, retentionArchive: 1 }))
    expect((await everything()).filter((name) => name.includes(segments(1, 1)[0]!))).toEqual([])
  })
})
