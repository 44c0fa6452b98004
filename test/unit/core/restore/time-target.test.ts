import { describe, expect, test } from 'vitest'
import { parseTimeTarget } from '../../../../src/core/restore/time-target.ts'
import { isPgtsError } from '../../../../src/util/error.ts'

const utc = (text: string) => Date.parse(text) / 1000
/** Local time two hours ahead of UTC. */
const plus2 = () => 7_200_000

describe('a time with a zone', () => {
  test.each([
    ['2026-01-31 23:15:07+00', '2026-01-31T23:15:07Z'],
    ['2026-01-31 23:15:07 UTC', '2026-01-31T23:15:07Z'],
    ['2026-01-31T23:15:07Z', '2026-01-31T23:15:07Z'],
    ['2026-01-31 23:15:07.25+01', '2026-01-31T22:15:07.25Z'],
    ['2026-01-31 23:15:07-0330', '2026-02-01T02:45:07Z'],
    ['2026-01-31 23:15:07 +05:45', '2026-01-31T17:30:07Z'],
    ['2026-01-31 23:15+02', '2026-01-31T21:15:00Z'],
    ['2026-07-01 12:00:00 Europe/Berlin', '2026-07-01T10:00:00Z'],
    ['2026-01-01 12:00:00 Europe/Berlin', '2026-01-01T11:00:00Z'],
    ['2026-03-29 03:30:00 Europe/Berlin', '2026-03-29T01:30:00Z'],
    ['2024-02-29 00:00:00+00', '2024-02-29T00:00:00Z'],
  ])('%s is %s, and goes to the server as it is', (text, expected) => {
    const time = parseTimeTarget(text, plus2)
    expect(time.seconds).toBeCloseTo(utc(expected), 6)
    expect(time.text).toBe(text)
    expect(time.assumedLocal).toBe(false)
  })
})

describe('a time without a zone is local time, and goes to the server with the offset it was read with', () => {
  test.each([
    ['2026-01-31 23:15:07', '2026-01-31T21:15:07Z', '2026-01-31 23:15:07+02'],
    ['2026-1-3 5:15:07.125', '2026-01-03T03:15:07.125Z', '2026-01-03 05:15:07.125+02'],
    ['2026-01-31', '2026-01-30T22:00:00Z', '2026-01-31 00:00:00+02'],
  ])('%s', (text, expected, sent) => {
    const time = parseTimeTarget(text, plus2)
    expect(time.seconds).toBeCloseTo(utc(expected), 6)
    expect(time).toMatchObject({ text: sent, assumedLocal: true })
  })

  test('offsets of half an hour and west of Greenwich', () => {
    expect(parseTimeTarget('2026-01-31 12:00:00', () => -3.5 * 3_600_000).text).toBe('2026-01-31 12:00:00-03:30')
  })
})

test.each([
  'yesterday',
  '',
  '2026-02-30 00:00:00',
  '2026-13-01 00:00:00',
  '2026-01-31 25:00:00',
  '2026-01-31 23:61:00',
  '31.01.2026 10:00',
  '2026-01-31 23:15:07 CEST',
  '2026-01-31 23:15:07 Europe/Nowhere',
  '2026-01-31 23:15:07+99',
])("'%s' is refused with an example [029]", (text) => {
  let refused: unknown
  try {
    parseTimeTarget(text, plus2)
  } catch (error) {
    refused = error
  }
  expect(isPgtsError(refused, 'format') && refused.exitCode).toBe(29)
  expect(isPgtsError(refused) && refused.hints.join()).toContain("'2026-01-31 23:15:07+01'")
})
