import { describe, expect, test } from 'vitest'
import { selectSet, type RepositoryBackups, type SetRequest } from '../../../../src/core/restore/select-set.ts'
import type { BackupEntry, BackupInfo } from '../../../../src/format/backup-info.ts'
import { isPgtsError, PgtsError } from '../../../../src/util/error.ts'

function backup(label: string, stop: number, lsnStop: string | undefined, historyId = 1): BackupEntry {
  return {
    label,
    historyId,
    timestampStart: stop - 10,
    timestampStop: stop,
    lsnStop,
  } as BackupEntry
}

function info(backups: BackupEntry[], currentId = 1): BackupInfo {
  return { backrestVersion: '2.59.1', currentId, history: [], backups }
}

const A = backup('20260101-000000F', 1000, '0/2000100')
const B = backup('20260102-000000F', 2000, '0/4000100')
const C = backup('20260103-000000F', 3000, '1/100')

function select(repositories: RepositoryBackups[], request: SetRequest) {
  const warnings: string[] = []
  const chosen = selectSet(repositories, request, {
    warn: (message) => warnings.push(message),
    showTime: (seconds) => `T${seconds}`,
  })
  return { label: chosen.entry.label, repo: chosen.repoKey, warnings }
}

function refusal(repositories: RepositoryBackups[], request: SetRequest): PgtsError {
  try {
    select(repositories, request)
  } catch (error) {
    if (isPgtsError(error)) return error
    throw error
  }
  throw new Error('no error was thrown')
}

const one = (backups: BackupEntry[]): RepositoryBackups[] => [{ key: 1, info: info(backups) }]
const time = (target: number): SetRequest => ({ kind: 'time', target, text: `time ${target}` })
const lsn = (target: bigint): SetRequest => ({ kind: 'lsn', target })

describe('the selected backup set', () => {
  test.each([
    ['the newest for type latest', { kind: 'latest' }, C.label],
    ['the one of --set', { kind: 'set', label: A.label }, A.label],
    ['the newest that stopped before a time', time(2001), B.label],
    ['an older one when the stop is the very second of the target', time(2000), A.label],
    ['an older one when the stop lies within the second of the target', time(2000.9), A.label],
    ['the newest whose stop LSN is the target', lsn(0x4000100n), B.label],
    ['an older one when the stop LSN is one byte beyond', lsn(0x40000ffn), A.label],
    ['the newest by comparing LSNs as 64-bit numbers', lsn(0x1_0000_0100n), C.label],
  ] as [string, SetRequest, string][])('is %s', (_, request, label) => {
    expect(select(one([A, B, C]), request)).toMatchObject({ label, repo: 1, warnings: [] })
  })

  test('comes from the first repository that has a fitting one, in key order', () => {
    const repositories: RepositoryBackups[] = [
      { key: 1, info: info([C]) },
      { key: 2, info: info([A, B]) },
      { key: 3, info: info([A]) },
    ]
    expect(select(repositories, time(2500))).toMatchObject({ label: B.label, repo: 2 })
    expect(select(repositories, { kind: 'set', label: A.label })).toMatchObject({ repo: 2 })
    expect(select(repositories, { kind: 'latest' })).toMatchObject({ label: C.label, repo: 1 })
  })

  test('is of a later repository after an unreadable and an empty one, with a warning each', () => {
    const repositories: RepositoryBackups[] = [
      { key: 1, failure: missing('no such file') },
      { key: 2, info: info([]) },
      { key: 3, info: info([A]) },
    ]
    expect(select(repositories, { kind: 'latest' })).toEqual({
      label: A.label,
      repo: 3,
      warnings: ['repo1: no such file', 'repo2: no backup sets to restore'],
    })
  })

  test('is of a later repository when the first has a backup without LSN', () => {
    const old = backup('20250101-000000F', 500, undefined)
    const repositories: RepositoryBackups[] = [
      { key: 1, info: info([A, old]) },
      { key: 2, info: info([A]) },
    ]
    const { repo, warnings } = select(repositories, lsn(0x9000000n))
    expect(repo).toBe(2)
    expect(warnings).toEqual([expect.stringContaining(`${old.label} does not record its stop LSN`)])
  })

  test('is refused when the latest is of a cluster before the upgrade, but may be reached by time', () => {
    const repositories = [{ key: 1, info: info([A], 2) }]
    const error = refusal(repositories, { kind: 'latest' })
    expect(error.code).toBe('backup-set-invalid')
    expect(error.message).toMatch(/20260101-000000F.*prior version of PostgreSQL/)
    expect(error.hints.join()).toContain('--set=20260101-000000F')
    expect(select(repositories, time(1001)).label).toBe(A.label)
  })
})

const missing = (message: string) => ({ code: 'file-missing', message, hints: [] }) as const

describe('error [075]', () => {
  test('for an unknown set lists the nearest sets in local time', () => {
    const error = refusal(one([A, B, C]), { kind: 'set', label: '20260102-120000F' })
    expect(error.exitCode).toBe(75)
    expect(error.message).toBe('backup set 20260102-120000F is not valid')
    expect(error.hints).toContain('available: 20260102-000000F on repo1, stopped T2000 at 0/4000100')
    expect(error.hints.join()).toContain(C.label)
  })

  test('for a time before every backup names the oldest set', () => {
    const error = refusal(one([B, C]), time(1500))
    expect(error.exitCode).toBe(75)
    expect(error.message).toContain("stop time less than 'time 1500'")
    expect(error.hints.join()).toContain('the oldest backup is 20260102-000000F on repo1, stopped T2000')
  })

  test('for an LSN before every backup contains the LSN', () => {
    const error = refusal(one([B]), lsn(0x1000000n))
    expect(error.exitCode).toBe(75)
    expect(error.message).toContain("'0/1000000'")
  })

  test('without backup.info contains the reason', () => {
    const failure = missing('neither /r/backup.info nor its copy exists')
    const error = refusal([{ key: 1, failure }], { kind: 'latest' })
    expect(error.exitCode).toBe(75)
    expect(error.message).toBe('no backup set found to restore')
    expect(error.hints).toEqual(['repo1: neither /r/backup.info nor its copy exists'])
  })

  test('advises to take a backup only when every repository can be read and has no backup', () => {
    const advice = expect.stringContaining('take a backup first') as string
    const empty: RepositoryBackups = { key: 1, info: info([]) }
    expect(refusal([empty], { kind: 'latest' }).hints).toEqual([advice])
    expect(refusal([empty, { key: 2, info: info([]) }], { kind: 'latest' }).hints).toEqual([advice])
    expect(refusal([empty, { key: 2, failure: missing('no file') }], { kind: 'latest' }).hints).toEqual([])
  })

  test('with several repositories lists what each of them has', () => {
    const repositories: RepositoryBackups[] = [
      { key: 1, info: info([]) },
      { key: 2, info: info([A, B]) },
      { key: 4, failure: { ...missing('no file'), hints: ['check repo4-path'] } },
    ]
    const error = refusal(repositories, time(1))
    expect(error.exitCode).toBe(75)
    expect(error.message).toBe(
      [
        "unable to find backup set with stop time less than 'time 1'",
        'repo1: no backup sets to restore',
        'repo2: 2 backup sets, none matches',
        'repo4: [055] no file',
      ].join('\n'),
    )
    expect(error.hints).toContain('check repo4-path')
  })

  test.each([{ kind: 'latest' } as const, { kind: 'set', label: '20260102-120000F' } as const, time(1), lsn(1n)])(
    'is replaced by the error of a repository that cannot be read and may have the set: $kind',
    (request) => {
      const failure = { code: 'service', message: 'cannot read s3://b/backup.info: no answer', hints: ['try'] } as const
      expect(refusal([{ key: 1, failure }], request)).toMatchObject(failure)
      const error = refusal(
        [
          { key: 1, info: info([]) },
          { key: 2, failure },
          { key: 3, failure },
        ],
        request,
      )
      expect(error).toMatchObject({
        code: 'service',
        message: [
          'cannot select a backup set: not every repository can be read',
          'repo1: no backup sets to restore',
          'repo2: [101] cannot read s3://b/backup.info: no answer',
          'repo3: [101] cannot read s3://b/backup.info: no answer',
        ].join('\n'),
        hints: ['try'],
      })
      expect(error.hints.join()).not.toContain('take a backup first')
    },
  )
})
