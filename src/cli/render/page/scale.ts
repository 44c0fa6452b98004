import { formatSize } from '../../../util/format-size.ts'
import { localWall, timeOfLocalWall, two } from '../../../util/local-time.ts'
import { duration } from '../result.ts'

/** Maps values to coordinates. */
export interface Scale {
  at(value: number): number
  readonly ticks: readonly Tick[]
}

export interface Tick {
  readonly value: number
  readonly label: string
}

/** From 0 to a round number that is not below `most`, with at most 6 ticks. */
export function linearScale(most: number, [start, end]: readonly [number, number], unit: 'bytes' | 'seconds'): Scale {
  const step = unit === 'bytes' ? byteStep(most / 5) : secondStep(most / 5)
  const count = Math.max(1, Math.ceil(most / step))
  const label = (value: number) => (unit === 'bytes' ? formatSize(value) : value === 0 ? '0' : duration(value * 1000))
  return {
    at: (value) => start + ((end - start) * value) / (count * step),
    ticks: Array.from({ length: count + 1 }, (_, index) => ({ value: index * step, label: label(index * step) })),
  }
}

/** 1, 2, 5, 10, ... 500 times a power of 1024. */
function byteStep(least: number): number {
  for (let unit = 1; ; unit *= 1024) {
    const step = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((factor) => factor * unit >= least)
    if (step !== undefined) return step * unit
  }
}

function secondStep(least: number): number {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200]
  return steps.find((step) => step >= least) ?? Math.ceil(least / DAY) * DAY
}

const MINUTE = 60
const HOUR = 3600
const DAY = 86_400
const STEPS = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY]
const MONTH_STEPS = [1, 3, 6, 12, 24, 60]
const MOST_TICKS = 9

/** Seconds since 1970, with ticks at round local times. */
export function timeScale([from, to]: readonly [number, number], [start, end]: readonly [number, number]): Scale {
  const last = Math.max(to, from + MINUTE)
  const at = (value: number) => start + ((end - start) * (value - from)) / (last - from)
  const step = STEPS.find((seconds) => (last - from) / seconds <= MOST_TICKS)
  const times = step === undefined ? monthTimes(from, last) : stepTimes(from, last, step)
  return { at, ticks: times.map((value, index) => ({ value, label: timeLabel(value, step, index === 0) })) }
}

function stepTimes(from: number, to: number, step: number): number[] {
  const { offset } = localWall(from)
  const times: number[] = []
  for (let wall = Math.ceil((from + offset) / step) * step; ; wall += step) {
    const time = timeOfLocalWall(wall)
    if (time > to) return times
    if (time >= from) times.push(time)
  }
}

function monthTimes(from: number, to: number): number[] {
  const months = (to - from) / (30 * DAY)
  const step = MONTH_STEPS.find((length) => months / length <= MOST_TICKS) ?? 120
  const { year, month } = localWall(from)
  const times: number[] = []
  const first = year * 12 + month - 1
  for (let next = Math.ceil(first / step) * step; ; next += step) {
    const time = timeOfLocalWall(Date.UTC(Math.floor(next / 12), next % 12, 1) / 1000)
    if (time > to) return times
    if (time >= from) times.push(time)
  }
}

/** @param first of the axis: with its date */
function timeLabel(time: number, step: number | undefined, first: boolean): string {
  const { year, month, day, hour, minute } = localWall(time)
  if (step === undefined) return [String(year), two(month)].join('-')
  const date = [two(month), two(day)].join('-')
  if (step >= DAY || (hour === 0 && minute === 0)) return date
  const clock = [two(hour), two(minute)].join(':')
  return first ? `${date} ${clock}` : clock
}
