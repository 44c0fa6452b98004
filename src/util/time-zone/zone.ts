/** The state of a time zone at one moment. */
export interface ZoneMoment {
  /** Seconds east of UTC. */
  readonly offset: number
  readonly isDst: boolean
  /**
   * For zones with leap seconds (`right/...`), seconds: the clock shows `time + offset - leap`, and stays at :60 during
   * a leap second, where `inLeap` is 1.
   */
  readonly leap: number
  readonly inLeap: number
}

export interface Zone {
  /** @param time seconds since the epoch, whole */
  at(time: number): ZoneMoment
}

/** A moment as shown by a clock. */
export interface WallTime {
  readonly year: number
  /** From 1. */
  readonly month: number
  readonly day: number
  readonly hour: number
  readonly minute: number
  /** 60 in a leap second. */
  readonly second: number
  /** Seconds east of UTC. */
  readonly offset: number
}

export const UTC: Zone = { at: () => ({ offset: 0, isDst: false, leap: 0, inLeap: 0 }) }

/** Like localtime(3). @param time seconds since the epoch; a fraction is dropped */
export function wallTime(zone: Zone, time: number): WallTime {
  const whole = Math.floor(time)
  const { offset, leap, inLeap } = zone.at(whole)
  const date = new Date((whole + offset - leap) * 1000)
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds() + inLeap,
    offset,
  }
}

/**
 * The moment at which the clocks of a zone show a time, in seconds since the epoch: the result of glibc's mktime(3),
 * with tm_isdst = -1, in a process that has not called it before. A time that occurs twice, or never, has more than one
 * answer; pgbackrest uses this one, so pgts does as well.
 *
 * @param wall local time interpreted as UTC: Date.UTC(...) / 1000
 */
export function timeOfWall(zone: Zone, wall: number): number {
  let time = wall
  let previous = wall
  let beforePrevious = wall
  let previousIsDst = false
  for (let probe = 0; probe < MOST_PROBES; probe++) {
    const { offset, isDst, leap, inLeap } = zone.at(time)
    const missing = wall - (time + offset - leap + inLeap)
    // 23:59:60 is treated as 00:00:00, one second later.
    if (missing === 0) return time + inLeap
    // The search alternates between two moments: the time was skipped. The one in summer time is used.
    const oscillates = time === beforePrevious && time !== previous
    if (oscillates && Number(previousIsDst) <= Number(isDst)) return time
    beforePrevious = previous
    previous = time
    time += missing
    previousIsDst = isDst
  }
  return time
}

/** glibc stops after 6; no zone needs more than 4. */
const MOST_PROBES = 6
