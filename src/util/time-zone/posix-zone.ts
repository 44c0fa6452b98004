import type { Zone } from './zone.ts'

/**
 * POSIX TZ strings, as in `TZ=CET-1CEST,M3.5.0,M10.5.0/3` and at the end of the files of the tz database.
 *
 * @see POSIX, Base Definitions, 8.3; tzset(3)
 */

/** Time of a change: `secs` after midnight, in standard or summer time, of a day of the year. */
type Rule = { readonly secs: number } & (
  | { readonly kind: 'month'; readonly month: number; readonly week: number; readonly weekday: number }
  /** From 0, February 29 is counted. */
  | { readonly kind: 'day'; readonly day: number }
  /** From 1, February 29 is never counted. */
  | { readonly kind: 'julian'; readonly day: number }
)

export interface PosixZone extends Zone {
  /** Seconds east of UTC. */
  readonly standard: number
  readonly summer: number
  /** Names summer time without rules: glibc uses the rules of the file posixrules of the tz database. */
  readonly lacksRules: boolean
  /** The whole text is valid and complete. glibc accepts other texts as well. */
  readonly complete: boolean
}

const NAME = /^(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)/
const OFFSET = /^([+-]?)([0-9]{1,4})(?::([0-9]{1,4})(?::([0-9]{1,4}))?)?/
const RULE =
  /^,?(?:M([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{1,2})|J([0-9]{1,3})|([0-9]{1,3}))(?:\/(-?)([0-9]{1,4})(?::([0-9]{1,4})(?::([0-9]{1,4}))?)?|(?=$|,))/

/** The result of glibc if it cannot parse a rule. */
const NO_RULE: Rule = { kind: 'day', day: 0, secs: 0 }
/** Rules of the United States, for a text that names summer time without rules. */
const DEFAULT_RULES: readonly [Rule, Rule] = [
  { kind: 'month', month: 3, week: 2, weekday: 0, secs: 7200 },
  { kind: 'month', month: 11, week: 1, weekday: 0, secs: 7200 },
]

/** Parses any text, as glibc does: invalid text is UTC, or standard time. */
export function posixZone(text: string): PosixZone {
  const name = NAME.exec(text)
  const offset = name === null ? null : OFFSET.exec(text.slice(name[0].length))
  if (name === null || offset === null) return zoneOf(0, 0, [NO_RULE, NO_RULE], { complete: false })
  const standard = east(offset)
  let rest = text.slice(name[0].length + offset[0].length)
  if (rest === '') return zoneOf(standard, standard, [NO_RULE, NO_RULE], {})

  const summerName = NAME.exec(rest)
  if (summerName === null) return zoneOf(standard, 0, [NO_RULE, NO_RULE], { complete: false })
  rest = rest.slice(summerName[0].length)
  const summerOffset = OFFSET.exec(rest)
  const summer = summerOffset === null ? standard + 3600 : east(summerOffset)
  rest = rest.slice(summerOffset?.[0].length ?? 0)
  if (rest === '' || rest === ',') return zoneOf(standard, summer, DEFAULT_RULES, { lacksRules: true, complete: false })

  let written = 0
  const next = (fallback: Rule): Rule | undefined => {
    if (rest === '') return fallback
    const parts = RULE.exec(rest)
    const rule = parts === null ? undefined : ruleOf(parts)
    if (rule === undefined) return undefined
    written++
    rest = rest.slice(parts![0].length)
    return rule
  }
  const begins = next(DEFAULT_RULES[0])
  const ends = begins === undefined ? undefined : next(DEFAULT_RULES[1])
  const complete = written === 2 && rest === ''
  return zoneOf(standard, summer, [begins ?? NO_RULE, ends ?? NO_RULE], { complete })
}

function zoneOf(
  standard: number,
  summer: number,
  [begins, ends]: readonly [Rule, Rule],
  how: { readonly lacksRules?: boolean; readonly complete?: boolean },
): PosixZone {
  const { lacksRules = false, complete = true } = how
  const at = (time: number) => {
    const year = new Date(time * 1000).getUTCFullYear()
    const [begin, end] = [changeIn(year, begins) - standard, changeIn(year, ends) - summer]
    // In the southern hemisphere summer time ends before it begins.
    const isDst = begin > end ? time < end || time >= begin : time >= begin && time < end
    return { offset: isDst ? summer : standard, isDst, leap: 0, inLeap: 0 }
  }
  return { standard, summer, lacksRules, complete, at }
}

/** The text has offsets west of Greenwich; the result is east. */
function east([, sign, hours, minutes = '0', seconds = '0']: RegExpExecArray): number {
  const value = Math.min(Number(hours), 24) * 3600 + Math.min(Number(minutes), 59) * 60 + Math.min(Number(seconds), 59)
  // Avoids -0, which would be printed as such.
  return sign === '-' ? value : 0 - value
}

function ruleOf(parts: RegExpExecArray): Rule | undefined {
  const [, month, week, weekday, julian, day, sign, hours, minutes = '0', seconds = '0'] = parts
  const value = Number(hours ?? 2) * 3600 + Number(minutes) * 60 + Number(seconds)
  const secs = sign === '-' ? -value : value
  if (month !== undefined) {
    const rule = { kind: 'month', month: Number(month), week: Number(week), weekday: Number(weekday), secs } as const
    const valid = rule.month >= 1 && rule.month <= 12 && rule.week >= 1 && rule.week <= 5 && rule.weekday <= 6
    return valid ? rule : undefined
  }
  if (julian !== undefined) {
    const ofYear = Number(julian)
    return ofYear >= 1 && ofYear <= 365 ? { kind: 'julian', day: ofYear, secs } : undefined
  }
  return Number(day) <= 365 ? { kind: 'day', day: Number(day), secs } : undefined
}

const DAY = 86_400

/** Seconds since the epoch, if the clocks showed UTC. */
function changeIn(year: number, rule: Rule): number {
  const january = utcDay(year, 0, 1)
  switch (rule.kind) {
    case 'day':
      return january + rule.day * DAY + rule.secs
    case 'julian': {
      const isLeap = utcDay(year, 1, 29) !== utcDay(year, 2, 1)
      return january + (rule.day - 1 + (isLeap && rule.day >= 60 ? 1 : 0)) * DAY + rule.secs
    }
    case 'month': {
      const first = utcDay(year, rule.month - 1, 1)
      const untilWeekday = (rule.weekday - new Date(first * 1000).getUTCDay() + 7) % 7
      let change = first + (untilWeekday + (rule.week - 1) * 7) * DAY
      // Week 5 means the last one, which may be the fourth.
      if (change >= utcDay(year, rule.month, 1)) change -= 7 * DAY
      return change + rule.secs
    }
  }
}

function utcDay(year: number, month: number, day: number): number {
  const date = new Date(0)
  date.setUTCFullYear(year, month, day)
  return date.getTime() / 1000
}
