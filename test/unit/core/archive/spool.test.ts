import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import {
  isAbout,
  isOkOf,
  prepareSpool,
  readSpoolOutcome,
  spoolPaths,
  writeOk,
  writeSpoolError,
  type SpoolPaths,
} from '../../../../src/core/archive/spool/spool-files.ts'
import { claimSpool, isOwner, lockFileOf, type SpoolOwner } from '../../../../src/core/archive/spool/spool-owner.ts'
import { tryHold } from '../../../../src/core/archive/spool/spool-lock.ts'
import { isReady, readReadyQueue } from '../../../../src/core/archive/push/ready-queue.ts'
import { PgtsError } from '../../../../src/util/error.ts'
import { segment } from '../../../support/builders/repository.ts'

const root = mkdtempSync(join(tmpdir(), 'pgts-spool-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let spool: SpoolPaths
let sequence = 0
beforeEach(() => {
  spool = spoolPaths(join(root, `spool${++sequence}`), 'main')
  prepareSpool(spool)
})

const NAME = segment(1)
const at = (ending: string) => join(spool.out, `${NAME}.${ending}`)

describe('status files', () => {
  test('writeOk sets the modification time of the stored file', () => {
    writeOk(spool, spool.out, NAME, { mtimeNs: 1_795_000_000_123_456_789n })
    expect(readFileSync(at('ok'), 'utf8')).toBe('')
    expect(statSync(at('ok'), { bigint: true }).mtimeNs).toBe(1_795_000_000_123_456_789n)
    expect(readdirSync(spool.own)).toEqual([])
  })

  test('warnings and errors are read as they were written, in the form of pgBackRest', () => {
    writeOk(spool, spool.out, NAME, { mtimeNs: 1n, warning: 'dropped: naïve\nHINT: look' })
    expect(readFileSync(at('ok'), 'utf8')).toBe('0\ndropped: naïve\nHINT: look')
    expect(readSpoolOutcome(spool.out, NAME)).toMatchObject({ kind: 'ok', warning: 'dropped: naïve\nHINT: look' })

    writeSpoolError(
      spool,
      spool.out,
      NAME,
      new PgtsError('file-write', 'no space', { hints: ['free space', 'really'] }),
    )
    expect(readFileSync(at('error'), 'utf8')).toBe('64\nno space\nHINT: free space\nHINT: really')
    // Only one of the two files exists.
    expect(readdirSync(spool.out)).toEqual([`${NAME}.error`])
    expect(readSpoolOutcome(spool.out, NAME)).toMatchObject({
      kind: 'error',
      error: { code: 'file-write', message: 'no space', hints: ['free space', 'really'] },
    })
    writeOk(spool, spool.out, NAME, { mtimeNs: 1n })
    expect(readdirSync(spool.out)).toEqual([`${NAME}.ok`])
  })

  test('global.error is the status of files without a status file', () => {
    writeFileSync(join(spool.out, 'global.error'), '103\nno repository')
    expect(readSpoolOutcome(spool.out, NAME)).toMatchObject({ kind: 'error', error: { code: 'repo-invalid' } })
    writeFileSync(at('ok'), '')
    expect(readSpoolOutcome(spool.out, NAME)).toMatchObject({ kind: 'ok' })
  })

  test.each(['ok', 'garbage\nmore', '-1\nx', '00000\nx', ' '])('an .ok with content %j is ignored', (text) => {
    writeFileSync(at('ok'), text)
    expect(readSpoolOutcome(spool.out, NAME)).toEqual({ kind: 'none' })
  })

  test.each(['', 'no number', '999999\n'])('an .error with content %j is reported as an unknown error', (text) => {
    writeFileSync(at('error'), text)
    expect(readSpoolOutcome(spool.out, NAME)).toMatchObject({ kind: 'error', error: { code: 'unknown' } })
  })

  test('an .ok acknowledges only the file with its time, except after an operator renamed it to skip the file', () => {
    const fileNs = 1_795_000_000_123_456_789n
    expect([0n, 89n, 789n, 456_789n, 123_456_789n].every((rest) => isOkOf(fileNs - rest, fileNs))).toBe(true)
    expect([1n, -1n, 10n ** 9n, -(10n ** 9n), 1000n].some((off) => isOkOf(fileNs + off, fileNs))).toBe(false)
    expect(isAbout({ kind: 'ok', mtimeNs: 5n }, fileNs)).toBe(false)
    expect(isAbout({ kind: 'ok', mtimeNs: 5n, warning: 'no space', skippedCode: 64 }, fileNs)).toBe(true)
    expect(isAbout({ kind: 'none' }, fileNs)).toBe(false)
  })
})

describe('claimSpool', () => {
  const owner: SpoolOwner = { systemId: 7_000_000_000_000_000_001n, pgPath: '/srv/a', bootId: 'one' }
  const fill = () => {
    writeFileSync(at('ok'), '')
    writeFileSync(join(spool.in, NAME), 'wal')
  }

  test('removes files of an unknown owner and takes the spool', async () => {
    fill()
    expect(await claimSpool(spool, owner)).toBe('claimed')
    expect([readdirSync(spool.out), readdirSync(spool.in)]).toEqual([[], []])
    fill()
    expect(await claimSpool(spool, owner)).toBe('ours')
    expect(isOwner(spool, owner)).toBe(true)
    expect([readdirSync(spool.out), readdirSync(spool.in)]).toEqual([[`${NAME}.ok`], [NAME]])
  })

  test.each([
    ['another cluster', { systemId: 7_000_000_000_000_000_002n }],
    ['a copy in another directory', { pgPath: '/srv/b' }],
  ])('empties the spool for %s', async (_, other) => {
    await claimSpool(spool, owner)
    fill()
    expect(await claimSpool(spool, { ...owner, ...other })).toBe('claimed')
    expect([readdirSync(spool.out), readdirSync(spool.in)]).toEqual([[], []])
    expect(isOwner(spool, owner)).toBe(false)
  })

  test('keeps .ok files and removes fetched segments after a restart of the host', async () => {
    await claimSpool(spool, owner)
    fill()
    expect(await claimSpool(spool, { ...owner, bootId: 'two' })).toBe('claimed')
    expect([readdirSync(spool.out), readdirSync(spool.in)]).toEqual([[`${NAME}.ok`], []])
  })

  test.each(['push', 'get'] as const)(
    'returns busy while a background process (%s) of another cluster runs',
    async (kind) => {
      await claimSpool(spool, owner)
      fill()
      const lock = await tryHold(lockFileOf(spool, kind))
      const other = { ...owner, systemId: 2n }
      expect(await claimSpool(spool, other)).toBe('busy')
      expect(readdirSync(spool.out)).toEqual([`${NAME}.ok`])
      expect(await claimSpool(spool, owner)).toBe('ours')
      expect(await claimSpool(spool, other, kind)).toBe('claimed')
      lock?.release()
    },
  )

  test.each(['', '{', 'null', '{"format":2}'])(
    'takes a spool whose owner file has the invalid content %j',
    async (text) => {
      await claimSpool(spool, owner)
      fill()
      writeFileSync(join(spool.own, 'cluster'), text)
      expect(await claimSpool(spool, owner)).toBe('claimed')
      expect(readdirSync(spool.out)).toEqual([])
    },
  )
})

test('readReadyQueue returns waiting files in the order of PostgreSQL, without archived ones', () => {
  const wal = join(root, `wal${sequence}`)
  mkdirSync(join(wal, 'archive_status'), { recursive: true })
  const names = [
    segment(3),
    '00000002.history',
    segment(2, 2),
    `${segment(2)}.partial`,
    `${segment(1)}.00000028.backup`,
  ]
  for (const name of [...names, segment(1), 'junk', 'RECOVERYXLOG']) {
    writeFileSync(join(wal, name), Buffer.alloc(name === segment(3) ? 1024 : 7))
    writeFileSync(join(wal, 'archive_status', `${name}.ready`), '')
  }
  writeFileSync(join(wal, 'archive_status', `${segment(9)}.done`), '')
  for (const name of [segment(1), segment(9)]) writeFileSync(join(spool.out, `${name}.ok`), '')
  utimesSync(wal, 1, 1)
  expect(readReadyQueue(wal, spool.out)).toEqual({
    waiting: ['00000002.history', `${segment(1)}.00000028.backup`, `${segment(2)}.partial`, segment(3), segment(2, 2)],
    acknowledged: [segment(1)],
    served: [segment(9)],
    segmentBytes: 1024,
    waitingBytes: 5 * 1024,
  })
  expect([isReady(wal, segment(3)), isReady(wal, segment(9))]).toEqual([true, false])
})
