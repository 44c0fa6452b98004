import { describe, expect, test } from 'vitest'
import { isEncrypted } from '../../../../src/codec/cipher.ts'
import type { DrillRecord } from '../../../../src/core/drill/record.ts'
import { lastDrill, listDrills, MOST_DRILLS, saveDrill } from '../../../../src/core/drill/store.ts'
import { memoryStorage } from '../../../../src/storage/memory.ts'
import { getFile, putFile } from '../../../../src/storage/whole-file.ts'
import { asBytes } from '../../../../src/util/byte-string.ts'
import { repositoryWith } from '../../../support/builders/repository.ts'

const { signal } = new AbortController()
const START = Date.UTC(2026, 10, 30, 19, 8, 41, 123)
const NAME = asBytes('pgts/main/drill/20261130T190841.123Z.json')
const cipher = { type: 'aes-256-cbc', origin: 'repo1-cipher-pass', passphrase: () => 'sesame' } as const

function aDrill(more: Partial<DrillRecord> = {}): DrillRecord {
  return {
    startedMs: START,
    host: 'standby2',
    pgts: '0.1.0',
    postgres: '15.20',
    label: '20261130-010000F',
    type: 'immediate',
    result: 'passed',
    durations: { restoreMs: 4000, recoveryMs: 1500, checksMs: 700, totalMs: 6300 },
    restoredBytes: 34_000_000,
    restoredFiles: 970,
    replayLsn: '0/5000100',
    lastCommitMs: START - 1000,
    checks: [{ name: 'pages', result: 'passed', detail: '812 files', durationMs: 300 }],
    ...more,
  }
}

/** A repository with the stanza main. */
async function aRepository(options: Parameters<typeof repositoryWith>[1] = {}) {
  const storage = memoryStorage()
  await putFile(storage, 'backup/main/backup.info', Buffer.from('x'))
  return repositoryWith(storage, options)
}

describe('the records of drills', () => {
  test('are listed newest first, whatever the order in which they were written', async () => {
    const repository = await aRepository()
    for (const minutes of [2, 0, 1])
      await saveDrill(repository, 'main', aDrill({ startedMs: START + minutes * 60_000 }), signal)
    const times = (await listDrills(repository, 'main', { signal })).map(({ startedMs }) => startedMs)
    expect(times).toEqual([START + 120_000, START + 60_000, START])
    expect((await lastDrill(repository, 'main', signal))?.startedMs).toBe(START + 120_000)
    expect(await listDrills(repository, 'main', { signal, most: 2 })).toHaveLength(2)
    expect(await listDrills(repository, 'other', { signal })).toEqual([])
  })

  test('have every member again after they were stored', async () => {
    const repository = await aRepository()
    const drill = aDrill({
      result: 'failed',
      problem: { code: 81, message: 'corrupt pages' },
      type: 'time',
      target: '2026-11-30 19:00:00+00',
      replayedBytes: 256,
    })
    await saveDrill(repository, 'main', drill, signal)
    expect(await lastDrill(repository, 'main', signal)).toEqual(drill)
    expect(JSON.parse((await getFile(repository.storage, NAME)).toString())).toMatchObject({ version: 1 })
  })

  test('are encrypted in an encrypted repository, and not listed without its passphrase', async () => {
    const repository = await aRepository({ cipher })
    await saveDrill(repository, 'main', aDrill(), signal)
    expect(isEncrypted(await getFile(repository.storage, NAME))).toBe(true)
    expect(await lastDrill(repository, 'main', signal)).toEqual(aDrill())
    for (const other of [undefined, { ...cipher, passphrase: () => 'wrong' }])
      expect(await listDrills({ ...repository, cipher: other }, 'main', { signal })).toEqual([])
  })

  test('are removed when there are more than the newest hundred', async () => {
    const repository = await aRepository()
    for (let minute = 0; minute < MOST_DRILLS + 2; minute++)
      await saveDrill(repository, 'main', aDrill({ startedMs: START + minute * 60_000 }), signal)
    const drills = await listDrills(repository, 'main', { signal, most: 1000 })
    expect(drills).toHaveLength(100)
    expect(drills.at(-1)?.startedMs).toBe(START + 2 * 60_000)
  })

  test.each([
    ['no JSON', '{'],
    ['a later version', JSON.stringify({ ...aDrill(), version: 2 })],
    ['another object', JSON.stringify({ version: 1, startedMs: 1 })],
    ['a forged member', JSON.stringify({ version: 1, ...aDrill(), lastCommitMs: 'yesterday' })],
    ['a forged check', JSON.stringify({ version: 1, ...aDrill(), checks: [{ name: 'pages', result: 'fine' }] })],
  ])('are left out if they are %s', async (_, text) => {
    const repository = await aRepository()
    await putFile(repository.storage, NAME, Buffer.from(text))
    expect(await listDrills(repository, 'main', { signal })).toEqual([])
  })

  test('are not written to a repository whose stanza is gone', async () => {
    const repository = repositoryWith(memoryStorage())
    await expect(saveDrill(repository, 'main', aDrill(), signal)).rejects.toMatchObject({ code: 'path-missing' })
    expect(await listDrills(repository, 'main', { signal })).toEqual([])
  })
})
