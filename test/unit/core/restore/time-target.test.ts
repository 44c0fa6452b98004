import { describe, expect, test } from 'vitest'
import { hasUnknownZone, parseTimeTarget } from '../../../../src/core/restore/time-target.ts'
import { isPgtsError } from '../../../../src/util/error.ts'
import { libcZone } from '../../../../src/util/time-zone/libc-zone.ts'

const utc = (text: string) => Date.parse(text) / 1000
const plus2 = libcZone({ TZ: 'ABC-2' })

describe('a time with a zone is written with a numeric offset', () => {
  test.each([
    ['2026-01-31 23:15:07+00', '2026-01-31T23:15:07Z', '2026-01-31 23:15:07+00'],
    ['2026-01-31 23:15:07 UTC', '2026-01-31T23:15:07Z', '2026-01-31 23:15:07+00'],
    ['2026-01-31T23:15:07Z', '2026-01-31T23:15:07Z', '2026-01-31 23:15:07+00'],
    ['2026-01-31 23:15:07 Z', '2026-01-31T23:15:07Z', '2026-01-31 23:15:07+00'],
    ['2026-01-31 23:15:07,5+00', '2026-01-31T23:15:07.5Z', '2026-01-31 23:15:07.5+00'],
    ['2026-01-31 23:15:07.25+01', '2026-01-31T22:15:07.25Z', '2026-01-31 23:15:07.25+01'],
    ['2026-01-31 23:15:07.1234569Z', '2026-01-31T23:15:07.123Z', '2026-01-31 23:15:07.123456+00'],
    ['2026-01-31 23:15:07-0330', '2026-02-01T02:45:07Z', '2026-01-31 23:15:07-03:30'],
    ['2026-01-31 23:15:07 -0:30', '2026-01-31T23:45:07Z', '2026-01-31 23:15:07-00:30'],
    ['2026-01-31 23:15:07 +05:45', '2026-01-31T17:30:07Z', '2026-01-31 23:15:07+05:45'],
    ['2026-01-31 23:15:07+530', '2026-01-31T17:45:07Z', '2026-01-31 23:15:07+05:30'],
    ['2026-01-31 23:15:07+15:59:59', '2026-01-31T07:15:08Z', '2026-01-31 23:15:07+15:59:59'],
    ['2026-01-31 23:15+02', '2026-01-31T21:15:00Z', '2026-01-31 23:15:00+02'],
    ['2026-01-31 24:00:00+02', '2026-01-31T22:00:00Z', '2026-02-01 00:00:00+02'],
    ['2026-01-31 23:59:60+00', '2026-02-01T00:00:00Z', '2026-02-01 00:00:00+00'],
    ['2026-07-01 12:00:00 Europe/Berlin', '2026-07-01T10:00:00Z', '2026-07-01 12:00:00+02'],
    ['2026-01-01 12:00:00 Etc/UTC', '2026-01-01T12:00:00Z', '2026-01-01 12:00:00+00'],
    // Times that do not exist, then times that exist twice: as the server reads them, measured with select timestamptz '...'.
    ['2026-03-29 02:30:00 Europe/Berlin', '2026-03-29T01:30:00Z', '2026-03-29 02:30:00+01'],
    ['2026-10-25 02:30:00 Europe/Berlin', '2026-10-25T01:30:00Z', '2026-10-25 02:30:00+01'],
    ['2026-03-08 02:30:00 America/New_York', '2026-03-08T07:30:00Z', '2026-03-08 02:30:00-05'],
    ['2026-11-01 01:30:00 America/New_York', '2026-11-01T06:30:00Z', '2026-11-01 01:30:00-05'],
    ['2026-03-29 03:30:00 Europe/Berlin', '2026-03-29T01:30:00Z', '2026-03-29 03:30:00+02'],
    ['2024-02-29 00:00:00+00', '2024-02-29T00:00:00Z', '2024-02-29 00:00:00+00'],
  ])('%s', (text, expected, sent) => {
    const time = parseTimeTarget(text, plus2)
    expect(time.seconds).toBeCloseTo(utc(expected), 3)
    expect(time).toMatchObject({ text: sent, assumedLocal: false })
  })
})

describe('a time without a zone is local time, and is written with the local offset', () => {
  test.each([
    ['ABC-2', '2026-01-31 23:15:07', '2026-01-31T21:15:07Z', '2026-01-31 23:15:07+02'],
    ['ABC-2', '2026-1-3 5:15:07.125', '2026-01-03T03:15:07.125Z', '2026-01-03 05:15:07.125+02'],
    ['ABC-2', '2026-01-31', '2026-01-30T22:00:00Z', '2026-01-31 00:00:00+02'],
    ['NST3:30', '2026-01-31 12:00:00', '2026-01-31T15:30:00Z', '2026-01-31 12:00:00-03:30'],
    ['CET-1CEST,M3.5.0,M10.5.0/3', '2027-07-01 12:00:00', '2027-07-01T10:00:00Z', '2027-07-01 12:00:00+02'],
    ['EST5EDT,M3.2.0,M11.1.0', '2027-07-01 12:00:00', '2027-07-01T16:00:00Z', '2027-07-01 12:00:00-04'],
    ['<+0530>-5:30', '2027-07-01 12:00:00', '2027-07-01T06:30:00Z', '2027-07-01 12:00:00+05:30'],
    // A time that does not exist: the offset is that of the moment that mktime(3) chooses.
    ['Europe/Berlin', '2026-03-29 02:30:00', '2026-03-29T01:30:00Z', '2026-03-29 03:30:00+02'],
    ['America/New_York', '2026-11-01 01:30:00', '2026-11-01T05:30:00Z', '2026-11-01 01:30:00-04'],
    // Servers refuse offsets of 16 hours and more.
    ['ABC-20', '2026-01-31 23:15:07', '2026-01-31T03:15:07Z', '2026-01-31 03:15:07+00'],
    // 27 leap seconds: the server does not know them.
    ['right/Europe/Berlin', '2027-07-01 12:00:00', '2027-07-01T10:00:27Z', '2027-07-01 12:00:27+02'],
  ])('with TZ=%s: %s', (TZ, text, expected, sent) => {
    const time = parseTimeTarget(text, libcZone({ TZ }))
    expect(time.seconds).toBeCloseTo(utc(expected), 3)
    expect(time).toMatchObject({ text: sent, assumedLocal: true })
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
  '2026-01-31 23:15:07+16',
  '2026-01-31 23:15:07+05:60',
  '2026-01-31 23:15:07+05300',
  '2026-01-31 24:00:01+00',
  '2026-01-31 24:00:00.5+00',
  '2026-01-31 23:15:61+00',
  '0000-01-31 23:15:07+00',
  'infinity',
  'epoch',
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

test('only a time with a zone abbreviation must be read by the server', () => {
  const texts = [
    '2026-01-31 23:15:07 CEST',
    '2026-01-31 23:15:07 Europe/Nowhere',
    '2026-02-30 23:15:07 CET',
    'now',
    '2026-01-31 23:15:07Z',
  ]
  expect(texts.map(hasUnknownZone)).toEqual([true, false, false, false, false])
})
