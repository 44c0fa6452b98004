import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { formatBackupLabel } from '../../../src/format/backup-label.ts'
import { dateTimeText, localDateTime, offsetText, zonedDateTime } from '../../../src/util/local-time.ts'
import { libcZone } from '../../../src/util/time-zone/libc-zone.ts'
import { posixZone } from '../../../src/util/time-zone/posix-zone.ts'
import { parseZoneFile } from '../../../src/util/time-zone/tzif.ts'
import { timeOfWall, wallTime } from '../../../src/util/time-zone/zone.ts'

/** The output of `date` on this machine at each time: `2026-11-22 06:28:17+01:00:00`. */
function shownByDate(TZ: string | undefined, times: readonly number[]): string[] {
  const env = { PATH: process.env.PATH, TZ }
  const input = times.map((time) => `@${time}\n`).join('')
  const { stdout } = spawnSync('date', ['-f', '-', '+%Y-%m-%d %H:%M:%S%::z'], { env, input, encoding: 'utf8' })
  return stdout.trimEnd().split('\n')
}

function shownHere(TZ: string | undefined, times: readonly number[]): string[] {
  const zone = libcZone({ TZ })
  return times.map((time) => {
    const wall = wallTime(zone, time)
    const seconds = offsetText(wall.offset)
    return dateTimeText(wall) + seconds + ':00'.repeat(3 - seconds.split(':').length)
  })
}

const utc = (text: string) => Date.parse(`${text}Z`) / 1000

/** Every 7 hours of relevant years, the seconds around new years, and the leap second of 2016. */
const TIMES = [
  ...[1970, 1999, 2020, 2026, 2027, 2036].flatMap((year) =>
    Array.from({ length: 1252 }, (_, index) => utc(`${year}-01-01`) + index * 7 * 3600),
  ),
  ...[2026, 2027, 2038, 2060].flatMap((year) => [-1, 0, 1].map((step) => utc(`${year}-01-01`) + step)),
  ...[1483228825, 1483228826, 1483228827, 4102444800, 2551443],
]

describe('local time is that of date(1)', () => {
  test.each([
    undefined,
    '',
    ':',
    'UTC',
    'Europe/Berlin',
    ':Europe/Berlin',
    '/usr/share/zoneinfo/Europe/Berlin',
    '../zoneinfo/Europe/Paris',
    ':/etc/localtime',
    'posix/America/New_York',
    'right/Europe/Berlin',
    'EST5EDT',
    'Australia/Lord_Howe',
    'America/St_Johns',
    'Africa/Casablanca',
    'Europe/Dublin',
    'Asia/Kathmandu',
    'MSK-3',
    'UTC+3',
    '<+0530>-5:30',
    '<-03>+3:00:00',
    'ABC99',
    'CET-1CEST,M3.5.0,M10.5.0/3',
    ':CET-1CEST,M3.5.0,M10.5.0/3',
    'EST5EDT,M3.2.0,M11.1.0',
    'EST5EDT4:30,M3.2.0/1:30:15,M11.1.0',
    'NZST-12NZDT,M9.5.0,M4.1.0/3',
    'WGT3WGST,M3.5.0/-2,M10.5.0/-1',
    'XXX-3:30YYY-4:45:10,M1.1.0/-100,M12.5.6/167',
    'XXX3YYY,J60,J300',
    'XXX3YYY,59/-25,299/170',
    'XXX3YYY,0/0,J365/25',
    'IST-1GMT0,M10.5.0,M3.5.0/1',
    'CET-1CEST,M3.5.0',
    'Foo/Bar',
    'EU-1',
    'Europe',
    '/etc/passwd',
    '/nonexistent',
    'CET-1X',
    'CET-1 ',
    'CET-1CEST,M3.5.0,foo',
    'CET-1CEST,M3.5.0,M10.5.0/3 and more',
  ])('with TZ=%s', (TZ) => {
    expect(shownHere(TZ, TIMES)).toEqual(shownByDate(TZ, TIMES))
  })

  // At the end of summer time in this zone, and after 2037, glibc's results are not defined: only other days are compared.
  test.each(['CET-1CEST', 'CET-1CEST,', 'CET-1CEST-3:30', 'PST8PDT7'])(
    'with TZ=%s, by the rules of posixrules',
    (TZ) => {
      const certain = [1990, 2010, 2026, 2036].flatMap((year) =>
        ['01-15', '05-15', '07-01', '10-01', '12-01'].map((day) => utc(`${year}-${day}T12:00:00`)),
      )
      expect(shownHere(TZ, certain)).toEqual(shownByDate(TZ, certain))
    },
  )

  test('with random zones written out', () => {
    const two = (most: number) => fc.integer({ min: 0, max: most }).map((value) => String(value).padStart(2, '0'))
    const offset = fc
      .tuple(fc.constantFrom('', '+', '-'), fc.integer({ min: 0, max: 24 }), fc.option(two(59)), fc.option(two(59)))
      .map(([sign, hour, minute, second]) => {
        const rest = minute === null ? '' : `:${minute}${second === null ? '' : `:${second}`}`
        return `${sign}${hour}${rest}`
      })
    const day = fc.oneof(
      fc.integer({ min: 1, max: 365 }).map((number) => `J${number}`),
      fc.integer({ min: 0, max: 365 }).map(String),
      fc
        .tuple(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 5 }), fc.integer({ min: 0, max: 6 }))
        .map((parts) => `M${parts.join('.')}`),
    )
    const at = fc.option(fc.integer({ min: -167, max: 167 }).map((hour) => `/${hour}`)).map((text) => text ?? '')
    const rule = fc.tuple(day, at).map((parts) => parts.join(''))
    const zones = fc
      .tuple(offset, fc.option(offset), rule, rule)
      .map(([standard, summer, begins, ends]) => `AAA${standard}BBB${summer ?? ''},${begins},${ends}`)
    fc.assert(
      fc.property(
        zones,
        fc.array(fc.integer({ min: 0, max: 8e9 }), { minLength: 200, maxLength: 200 }),
        (TZ, times) => {
          expect(shownHere(TZ, times)).toEqual(shownByDate(TZ, times))
        },
      ),
      { numRuns: 25 },
    )
  })
})

describe('a local time converted to a moment', () => {
  // Measured: mktime(3) of glibc 2.36 with tm_isdst = -1, each in a new process.
  test.each([
    ['Europe/Berlin', '2026-07-01 12:00:00', '2026-07-01 10:00:00'],
    ['Europe/Berlin', '2026-03-29 02:30:00', '2026-03-29 01:30:00'],
    ['Europe/Berlin', '2026-10-25 02:30:00', '2026-10-25 01:30:00'],
    ['America/New_York', '2026-03-08 02:30:00', '2026-03-08 07:30:00'],
    ['America/New_York', '2026-11-01 01:30:00', '2026-11-01 05:30:00'],
    ['Pacific/Auckland', '2026-09-27 02:30:00', '2026-09-26 14:30:00'],
    ['Pacific/Auckland', '2027-04-04 02:30:00', '2027-04-03 14:30:00'],
    ['Australia/Lord_Howe', '2026-10-04 02:15:00', '2026-10-03 15:45:00'],
    ['CET-1CEST,M3.5.0,M10.5.0/3', '2026-10-25 02:30:00', '2026-10-25 01:30:00'],
    ['right/Europe/Berlin', '2026-07-01 12:00:00', '2026-07-01 10:00:27'],
  ])('in %s %s is %s UTC', (TZ, local, expected) => {
    expect(timeOfWall(libcZone({ TZ }), utc(local))).toBe(utc(expected))
  })

  test('converts back to the same local time', () => {
    const zones = ['Europe/Berlin', 'America/St_Johns', 'right/UTC', 'XXX3YYY,59/-25,299/170', 'Africa/Casablanca']
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 0, max: 4e9 }), (TZ, time) => {
        const zone = libcZone({ TZ })
        const shown = wallTime(zone, time)
        fc.pre(shown.second < 60)
        const back = timeOfWall(zone, utc(dateTimeText(shown).replace(' ', 'T')))
        expect(dateTimeText(wallTime(zone, back))).toBe(dateTimeText(shown))
      }),
    )
  })
})

describe('texts in the zone of the process', () => {
  const { TZ } = process.env
  afterEach(() => {
    if (TZ === undefined) delete process.env.TZ
    else process.env.TZ = TZ
  })

  test.each([
    ['CET-1CEST,M3.5.0,M10.5.0/3', '2027-07-01 14:00:00+02', '20270701-140000F'],
    ['<+0530>-5:30', '2027-07-01 17:30:00+05:30', '20270701-173000F'],
    ['ABC-1:02:03', '2027-07-01 13:02:03+01:02:03', '20270701-130203F'],
    ['/usr/share/zoneinfo/America/New_York', '2027-07-01 08:00:00-04', '20270701-080000F'],
  ])('with TZ=%s a moment is %s, and labels follow', (zone, zoned, label) => {
    process.env.TZ = zone
    const time = utc('2027-07-01 12:00:00')
    expect(zonedDateTime(time)).toBe(zoned)
    expect(localDateTime(time)).toBe(zoned.slice(0, 19))
    expect(formatBackupLabel('full', time)).toBe(label)
  })
})

describe('files that are not zones', () => {
  const berlin = readFileSync('/usr/share/zoneinfo/Europe/Berlin')

  test('a file of the tz database is one', () => {
    expect(parseZoneFile(berlin)?.footer).toBe('CET-1CEST,M3.5.0,M10.5.0/3')
  })

  test('a zone file truncated before its footer is refused', () => {
    const footer = berlin.lastIndexOf('\nCET-1CEST')
    for (let length = 0; length < footer; length += 7) {
      expect(parseZoneFile(berlin.subarray(0, length))).toBeUndefined()
    }
  })

  test('reading ends for any bytes after the magic number', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const file = parseZoneFile(Buffer.concat([Buffer.from('TZif2'), bytes]))
        expect(file === undefined || file.types.length > 0).toBe(true)
      }),
    )
  })
})

test('recognises whether a text is a complete zone rule', () => {
  const texts = [
    'CET-1CEST,M3.5.0,M10.5.0/3',
    'MSK-3',
    'CET-1CEST',
    'CET',
    'CET-1CEST,M3.5.0',
    'CET-1 ',
    'Europe/Berlin',
  ]
  expect(texts.map((text) => posixZone(text).complete)).toEqual([true, true, false, false, false, false, false])
})
