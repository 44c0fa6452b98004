import { describe, expect, test } from 'vitest'
import { calendarReasons, type CalendarPolicy } from '../../../../src/core/expire/calendar.ts'
import { entriesOf } from '../../../support/builders/repository.ts'

/** A full for each moment, which is its stop time; an incr where the text says so. */
function standing(moments: readonly string[], calendar: Partial<CalendarPolicy>): string[] {
  let full = ''
  const backups = moments.map((moment) => {
    const [time = '', type = 'F'] = moment.split(' ')
    const stop = Date.parse(time) / 1000
    const name = time.slice(0, 16).replaceAll(/[-:]/g, '').replace('T', '-') + '00'
    if (type === 'F') full = `${name}F`
    return { label: type === 'F' ? full : `${full}_${name}I`, stop, prior: type === 'F' ? undefined : full }
  })
  const reasons = calendarReasons(entriesOf(backups), { timeZone: 'UTC', ...calendar })
  return backups.flatMap(({ label }, index) =>
    (reasons.get(label) ?? []).map(({ rule, period }) => `${moments[index] as string}: ${rule} ${period}`),
  )
}

describe('a backup is kept for', () => {
  test('a day if it is the newest of the day, for the newest N days with a backup', () => {
    expect(
      standing(['2026-03-01T01:00Z', '2026-03-04T01:00Z', '2026-03-04T13:00Z I', '2026-03-09T01:00Z'], { daily: 2 }),
    ).toEqual(['2026-03-04T13:00Z I: daily 2026-03-04', '2026-03-09T01:00Z: daily 2026-03-09'])
  })

  test('a month if it is its newest full, or its newest backup in a month without a full', () => {
    const moments = ['2026-01-05T01:00Z', '2026-01-12T01:00Z', '2026-01-31T01:00Z I', '2026-02-03T01:00Z I']
    expect(standing(moments, { monthly: 12 })).toEqual([
      '2026-01-12T01:00Z: monthly 2026-01',
      '2026-02-03T01:00Z I: monthly 2026-02',
    ])
  })

  test('several periods at the same time', () => {
    expect(standing(['2026-03-04T01:00Z'], { daily: 1, weekly: 1, monthly: 1, yearly: 1 })).toEqual(
      ['daily 2026-03-04', 'weekly 2026-W10', 'monthly 2026-03', 'yearly 2026'].map(
        (reason) => `2026-03-04T01:00Z: ${reason}`,
      ),
    )
  })

  test.each([
    ['2024-12-29T12:00Z', '2024-W52'],
    ['2024-12-30T12:00Z', '2025-W01'],
    ['2026-12-31T12:00Z', '2026-W53'],
    ['2027-01-03T12:00Z', '2026-W53'],
    ['2027-01-04T12:00Z', '2027-W01'],
  ])('%s is in the ISO 8601 week %s', (moment, week) => {
    expect(standing([moment], { weekly: 1 })).toEqual([`${moment}: weekly ${week}`])
  })
})

describe('the time zone', () => {
  test('decides when days begin', () => {
    const moments = ['2026-01-01T22:30Z', '2026-01-01T23:30Z']
    expect(standing(moments, { daily: 9 })).toEqual(['2026-01-01T23:30Z: daily 2026-01-01'])
    expect(standing(moments, { daily: 9, timeZone: 'Europe/Berlin' })).toEqual([
      '2026-01-01T22:30Z: daily 2026-01-01',
      '2026-01-01T23:30Z: daily 2026-01-02',
    ])
  })

  test.each([
    // The day on which summer time begins in Berlin has 23 hours, the day on which it ends 25.
    ['2026-03-28T22:59Z', '2026-03-28'],
    ['2026-03-28T23:00Z', '2026-03-29'],
    ['2026-03-29T21:59Z', '2026-03-29'],
    ['2026-03-29T22:00Z', '2026-03-30'],
    ['2026-10-24T22:00Z', '2026-10-25'],
    ['2026-10-25T22:59Z', '2026-10-25'],
    ['2026-10-25T23:00Z', '2026-10-26'],
  ])('%s is %s in Berlin', (moment, day) => {
    expect(standing([moment], { daily: 1, timeZone: 'Europe/Berlin' })).toEqual([`${moment}: daily ${day}`])
  })

  test.each([
    ['CET-1CEST,M3.5.0,M10.5.0/3', '2026-03-29T21:59Z', '2026-03-29'],
    ['CET-1CEST,M3.5.0,M10.5.0/3', '2026-03-29T22:00Z', '2026-03-30'],
    ['<+0530>-5:30', '2026-03-29T18:29Z', '2026-03-29'],
    ['<+0530>-5:30', '2026-03-29T18:30Z', '2026-03-30'],
  ])('may be a POSIX rule %s: %s is %s', (timeZone, moment, day) => {
    expect(standing([moment], { daily: 1, timeZone })).toEqual([`${moment}: daily ${day}`])
  })

  test.each(['Europe/Atlantis', 'CET-1CEST', 'CET-1CEST,M3.5.0', 'CET-1 ', ''])('of %j is refused', (timeZone) => {
    expect(() => standing(['2026-01-01T22:30Z'], { daily: 1, timeZone })).toThrow(
      expect.objectContaining({ code: 'option-invalid-value' }),
    )
  })
})
