import { describe, expect, test } from 'vitest'
import { isPinActive, withoutPin, withPin, type Pin } from '../../../../src/core/expire/pins.ts'
import { loadPins, pinsName, savePins } from '../../../../src/core/expire/pins-store.ts'
import { expireRepository } from '../../../../src/core/expire/run.ts'
import { planBackups, type ExpireChoice, type RetentionPolicy } from '../../../../src/core/expire/retention.ts'
import { memoryStorage, type MemoryStorage } from '../../../../src/storage/memory.ts'
import { silentLogger } from '../../../../src/util/log.ts'
import { entriesOf, fillRepository, namesOf, repositoryWith } from '../../../support/builders/repository.ts'
import { recordingLog } from '../../../support/builders/wal.ts'

const F1 = '20260101-000000F'
const D1 = `${F1}_20260102-000000D`
const I1 = `${D1.slice(0, 17)}20260103-000000I`
const F2 = '20260201-000000F'
const F3 = '20260301-000000F'
const labels = [F1, D1, I1, F2, F3]
const pin = (label: string, more: Partial<Pin> = {}): Pin => ({ label, since: 1, ...more })

const count = (full: number): RetentionPolicy => ({ fullType: 'count', full, archiveType: 'full' })
const plan = (pins: readonly Pin[], policy = count(1), choice: ExpireChoice = {}, now = 100) =>
  planBackups(entriesOf(labels.map((label) => ({ label }))), policy, choice, now, pins)
const kept = (result: ReturnType<typeof plan>) => result.kept.map(({ label }) => label)

describe('a pinned backup', () => {
  test('is kept with the backups it depends on, and nothing else of its set', () => {
    expect(kept(plan([pin(F1)]))).toEqual([F1, F3])
    expect(kept(plan([pin(I1)]))).toEqual([F1, D1, I1, F3])
    expect(kept(plan([pin(D1)]))).toEqual([F1, D1, F3])
  })

  test('is explained by its pin, and the backups it depends on by their dependent', () => {
    const { verdicts } = plan([pin(D1, { reason: 'before the move', until: 200 })])
    expect(verdicts.slice(0, 3)).toEqual([
      { label: F1, keep: true, reasons: [{ rule: 'needed', by: D1 }] },
      { label: D1, keep: true, reasons: [{ rule: 'pin', reason: 'before the move', until: 200 }] },
      { label: I1, keep: false, reason: 'full', because: F1 },
    ])
  })

  test('does not change the number of backups for which all WAL is kept', () => {
    expect(plan([pin(F1)]).archive).toEqual({ type: 'full', count: 1 })
  })

  test('expires when the time of the pin is over', () => {
    expect(isPinActive(pin(F1, { until: 100 }), 99)).toBe(true)
    expect(isPinActive(pin(F1, { until: 100 }), 100)).toBe(false)
    expect(kept(plan([pin(F1, { until: 100 })]))).toEqual([F3])
  })

  test('is not expired by --set, nor by --set of a backup it depends on', () => {
    for (const set of [F1, D1]) {
      expect(() => plan([pin(D1)], count(9), { set })).toThrow(
        expect.objectContaining({ code: 'backup-set-invalid', message: expect.stringContaining('pinned') as string }),
      )
    }
    expect(kept(plan([pin(D1)], count(9), { set: I1 }))).toEqual([F1, D1, F2, F3])
  })

  test('is skipped by --oldest', () => {
    expect(kept(plan([pin(I1)], count(9), { oldest: true }))).toEqual([F1, D1, I1, F3])
    expect(plan([pin(I1), pin(F2)], count(9), { oldest: true })).toMatchObject({ groups: [], oldestMissing: true })
  })

  test('that does not exist protects nothing', () => {
    expect(kept(plan([pin('20250101-000000F')]))).toEqual([F3])
  })
})

test('a pinned backup that another program removed is reported until the time of the pin is over', async () => {
  const storage = memoryStorage()
  await fillRepository(storage, { backups: [{ label: F3 }] })
  await savePins(repositoryWith(storage), 'main', [pin(F1), pin(F2, { until: 100 })])
  const log = recordingLog()
  await expireRepository({ ...request(storage), nowMs: 100_000, log })
  const warned = log.lines.filter((line) => line.includes('no longer in the repository'))
  expect(warned).toEqual([
    expect.stringMatching(new RegExp(`warn: repo1: backup ${F1} is pinned[^]*unpin ${F1}' removes`)),
  ])
})

function request(storage: MemoryStorage) {
  return {
    repository: repositoryWith(storage),
    stanza: 'main',
    policy: count(1),
    choice: {},
    nowMs: 0,
    dryRun: false,
    refusePageErrors: true,
    linkLatest: false,
    log: silentLogger,
    signal: new AbortController().signal,
  }
}

test('a second pin of a backup replaces the first, and pins are sorted', () => {
  const pins = withPin(withPin(withPin([], pin(F2)), pin(F1)), pin(F2, { reason: 'again' }))
  expect(pins).toEqual([pin(F1), pin(F2, { reason: 'again' })])
  expect(withoutPin(pins, F1)).toEqual([pin(F2, { reason: 'again' })])
})

describe('the file of pins', () => {
  const cipher = { type: 'aes-256-cbc' as const, origin: 'repo1-cipher-pass', passphrase: () => 'a passphrase' }
  const pins = [pin(F1, { reason: 'größer "gut"', until: 7 }), pin(F2)]

  test.each([undefined, cipher])('is read as it was written (cipher: %o)', async (key) => {
    const storage = memoryStorage()
    const repository = repositoryWith(storage, { cipher: key })
    expect(await loadPins(repository, 'main')).toEqual([])
    await savePins(repository, 'main', pins)
    expect(await loadPins(repository, 'main')).toEqual(pins)
    const stored = storage.files.get('pgts/main/pins.json')!.bytes.toString('latin1')
    expect(stored.includes(F1)).toBe(key === undefined)
  })

  test.each([
    ['cut', (text: string) => text.slice(0, 40)],
    ['empty', () => ''],
    ['a file of a newer version', (text: string) => text.replace('"version": 1', '"version": 2')],
    ['a file with an invalid label', (text: string) => text.replace(F1, 'latest')],
  ])('%s stops expire before anything is removed', async (_, damage) => {
    const storage = memoryStorage()
    await fillRepository(storage, { backups: labels.map((label) => ({ label })) })
    await savePins(repositoryWith(storage), 'main', pins)
    const { bytes } = storage.files.get(pinsName('main'))!
    storage.files.set(pinsName('main'), { bytes: Buffer.from(damage(bytes.toString())), mtimeMs: 0 })
    const before = await namesOf(storage)
    await expect(expireRepository(request(storage))).rejects.toMatchObject({
      code: 'format',
      message: expect.stringContaining('pins.json') as string,
    })
    expect(await namesOf(storage)).toEqual(before)
  })

  test('with another passphrase, or without one, is an error and not an empty list', async () => {
    const storage = memoryStorage()
    await savePins(repositoryWith(storage, { cipher }), 'main', pins)
    await expect(loadPins(repositoryWith(storage), 'main')).rejects.toMatchObject({ code: 'crypto' })
    const wrong = { ...cipher, passphrase: () => 'another' }
    await expect(loadPins(repositoryWith(storage, { cipher: wrong }), 'main')).rejects.toThrow()
    await savePins(repositoryWith(storage), 'main', pins)
    await expect(loadPins(repositoryWith(storage, { cipher }), 'main')).rejects.toMatchObject({ code: 'crypto' })
  })
})
