import { describe, expect, test } from 'vitest'
import {
  checkedSetting,
  parseTarget,
  parseTargetTimeline,
  type TargetType,
} from '../../../../src/core/restore/recovery-target.ts'
import { toPlainError } from '../../../../src/util/error.ts'

const codeOf = (action: () => unknown): string => {
  try {
    return `accepted: ${JSON.stringify(action())}`
  } catch (error) {
    return toPlainError(error).code
  }
}

describe('a recovery target is written in a form that every server version reads in the same way', () => {
  test.each([
    ['xid', '1234', '1234'],
    ['xid', '0010', '10'],
    ['xid', '0x10', '16'],
    ['xid', '3', '3'],
    ['xid', '4294967295', '4294967295'],
    ['xid', '4294967299', '4294967299'],
    ['xid', '18446744073709551615', '18446744073709551615'],
    ['lsn', '0/1200028', '0/1200028'],
    ['lsn', '00000000/0120002a', '0/120002A'],
    ['name', "it's \\ here", "it's \\ here"],
    ['name', 'x'.repeat(63), 'x'.repeat(63)],
    ['time', '2026-11-29T12:53:16Z', '2026-11-29 12:53:16+00'],
  ] as [TargetType, string, string][])('%s %s', (type, text, expected) => {
    expect(parseTarget(type, text).text).toBe(expected)
  })
})

describe('a target that the server would refuse or misread is refused', () => {
  test.each([
    ['xid', 'abc', 'option-invalid-value'],
    ['xid', '', 'option-invalid-value'],
    ['xid', ' 7', 'option-invalid-value'],
    ['xid', '7 ', 'option-invalid-value'],
    ['xid', '-7', 'option-invalid-value'],
    ['xid', '+7', 'option-invalid-value'],
    ['xid', '7.5', 'option-invalid-value'],
    ['xid', '0x', 'option-invalid-value'],
    ['xid', '0', 'option-invalid-value'],
    ['xid', '2', 'option-invalid-value'],
    // Epoch 1, transaction 2: does not exist.
    ['xid', '4294967298', 'option-invalid-value'],
    ['xid', '18446744073709551616', 'option-invalid-value'],
    ['lsn', '1200028', 'format'],
    ['lsn', '0/1200028 ', 'format'],
    ['lsn', '0/123456789', 'format'],
    ['lsn', '0/12000G8', 'format'],
    ['lsn', '', 'format'],
    ['name', '', 'option-invalid-value'],
    ['name', 'x'.repeat(64), 'option-invalid-value'],
    ['time', '', 'format'],
    ['time', 'abc', 'format'],
  ] as [TargetType, string, string][])('%s %j', (type, text, code) => {
    expect(codeOf(() => parseTarget(type, text))).toBe(code)
  })

  test('the error about a target shows its text as it was given', () => {
    expect(() => parseTarget('xid', Buffer.from('für').toString('latin1'))).toThrow("invalid target 'für'")
  })
})

test.each([
  ['current', 'current'],
  ['latest', 'latest'],
  ['3', '3'],
  ['010', '10'],
  ['0xA', '10'],
  ['4294967295', '4294967295'],
])('the timeline %s is written as %s', (text, expected) => {
  expect(parseTargetTimeline(text)).toBe(expected)
})

test.each(['', '0', 'Latest', '-1', '1.5', '4294967296', '0xfffffffff', 'A', ' 1'])(
  'the timeline %j is refused',
  (text) => {
    expect(codeOf(() => parseTargetTimeline(text))).toBe('db-mismatch')
  },
)

test('a target in recovery-option is checked in the same way, and other settings are not changed', () => {
  expect(checkedSetting('recovery_target_xid', '010')).toBe('10')
  expect(checkedSetting('recovery_target_timeline', '0x2')).toBe('2')
  expect(checkedSetting('recovery_target_xid', '')).toBe('')
  expect(checkedSetting('primary_conninfo', 'host=a')).toBe('host=a')
  expect(codeOf(() => checkedSetting('recovery_target_name', 'x'.repeat(64)))).toBe('option-invalid-value')
})
