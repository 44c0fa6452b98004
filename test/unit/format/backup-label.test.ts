import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as labels from '../../../src/format/backup-label.ts'

const full = labels.parseBackupLabel('20261122-062513F')
const at = Date.UTC(2026, 10, 22, 6, 25, 13) / 1000
let zone: string | undefined
beforeEach(() => {
  zone = process.env['TZ']
  process.env['TZ'] = 'UTC'
})
afterEach(() => {
  if (zone === undefined) delete process.env['TZ']
  else process.env['TZ'] = zone
})

test('a backup label is in local time', () => {
  expect(labels.formatBackupLabel('full', at)).toBe('20261122-062513F')
  process.env['TZ'] = 'America/St_Johns'
  expect(labels.formatBackupLabel('full', at)).toBe('20261122-025513F')
})

test('diff and incr have the label of their full as a prefix', () => {
  const diff = labels.formatBackupLabel('diff', at + 60, full)
  expect(diff).toBe('20261122-062513F_20261122-062613D')
  expect(labels.formatBackupLabel('incr', at + 120, diff)).toBe('20261122-062513F_20261122-062713I')
  expect([full, diff].map(labels.backupTypeOf)).toEqual(['full', 'diff'])
  expect(labels.fullLabelOf(diff)).toBe(full)
})

test.each([
  '',
  '20261122-062513',
  '20261122-062513X',
  '20261122-062513F_',
  '20261122-062513F_20261122-062613F',
  'latest',
])('%j is not a label', (text) => {
  expect(labels.isBackupLabel(text)).toBe(false)
  expect(() => labels.parseBackupLabel(text)).toThrow(expect.objectContaining({ code: 'format' }))
})

describe('the next label', () => {
  test('is greater than every existing one', () => {
    expect(labels.nextBackupLabel('full', at, [])).toEqual({ label: full, timestampStart: at })
    expect(labels.nextBackupLabel('full', at, ['20261121-000000F', '20261121-000000F_20261121-000001I'])).toEqual({
      label: full,
      timestampStart: at,
    })
  })
  test('is one second later when that avoids a duplicate', () => {
    expect(labels.nextBackupLabel('full', at, [full])).toEqual({ label: '20261122-062514F', timestampStart: at + 1 })
    expect(labels.nextBackupLabel('full', at, ['20261122-062513F_20261122-062513I']).label).toBe('20261122-062514F')
  })
  test('fails when the clock was set back', () => {
    expect(() => labels.nextBackupLabel('full', at, ['20261122-062514F'])).toThrow(
      expect.objectContaining({ code: 'clock', message: expect.stringContaining('20261122-062514F') }),
    )
  })
  test('of an incr depends on its own set only', () => {
    const existing = [
      full,
      '20261122-062513F_20261122-062600I',
      '20261122-080000F',
      '20261122-080000F_20261122-090000I',
    ]
    expect(labels.nextBackupLabel('incr', at + 60, existing, full).label).toBe('20261122-062513F_20261122-062613I')
  })
})

test('dependents of a backup are listed newest first', () => {
  const prior = (label: string, of?: string) => (of === undefined ? { label } : { label, prior: of })
  const backups = [
    prior('A'),
    prior('B', 'A'),
    prior('D', 'C'),
    prior('C', 'A'),
    prior('E', 'D'),
    prior('X'),
    prior('Y', 'X'),
  ]
  expect(labels.dependentsOf('A', backups)).toEqual(['E', 'D', 'C', 'B', 'A'])
  expect(labels.dependentsOf('C', backups)).toEqual(['E', 'D', 'C'])
  expect(labels.dependentsOf('B', backups)).toEqual(['B'])
})
