import { CODECS } from '../codec/levels.ts'
import type { SupportColumn } from './option-row.ts'

type Level = (typeof CODECS)[keyof typeof CODECS]['level']

const levels = Object.entries(CODECS).flatMap(([name, { level }]): [string, NonNullable<Level>][] =>
  level === undefined ? [] : [[name, level]],
)

/** The range and default of compress-level depend on compress-type; they are those of the codec. */
export const defaultLevels = { by: Object.fromEntries(levels.map(([name, level]) => [name, level.default])) }
export const levelRanges = {
  by: Object.fromEntries(levels.map(([name, level]) => [name, [level.min, level.max] as const])),
}

/** Refuse a compress-type that this build can read but not write. */
export const compressSupport: SupportColumn = Object.fromEntries(
  Object.entries(CODECS).flatMap(([name, { writes }]) => (writes ? [] : [[name, 'refuse']])),
)
