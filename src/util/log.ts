import type { Text } from './byte-string.ts'

/** Levels of pgBackRest, quietest first. A sink set to `warn` shows `error` and `warn`. */
export const LOG_LEVELS = ['off', 'error', 'warn', 'info', 'detail', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type MessageLevel = Exclude<LogLevel, 'off'>

/** `text` is pgBackRest's line form. */
export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

/** 0 for off; a sink writes the records of its own rank and below. */
export function rankOf(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level)
}

/** Structured data of a record. `process` is the worker number, shown as `Pnn` (0 is the main thread). */
export interface LogFields {
  process?: number
  [field: string]: unknown
}

/**
 * `log.info('backup complete')` or `log.info({ label, sizeBytes }, 'backup complete')`. The message must be
 * understandable without the fields.
 */
export interface LogMethod {
  (message: Text): void
  (fields: LogFields, message: Text): void
}

/**
 * `info` reports normal progress, `warn` needs the operator's attention, `detail` names files, `debug` is for developers.
 * `logError` in cli appends the hints of an error.
 */
export interface Logger {
  readonly error: LogMethod
  readonly warn: LogMethod
  readonly info: LogMethod
  readonly detail: LogMethod
  readonly debug: LogMethod
  readonly trace: LogMethod
  /** True if a record of this level is written to any sink. Check it before building an expensive message. */
  enabled(level: MessageLevel): boolean
}

const nothing: LogMethod = () => undefined

/** Discards every record. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  detail: nothing,
  debug: nothing,
  trace: nothing,
  enabled: () => false,
}
