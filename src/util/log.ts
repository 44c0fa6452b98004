/** Levels of pgBackRest, quietest first. A sink set to `warn` shows `error` and `warn`. */
export const LOG_LEVELS = ['off', 'error', 'warn', 'info', 'detail', 'debug', 'trace'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]
export type MessageLevel = Exclude<LogLevel, 'off'>

/** What a record may carry beside its sentence. `process` is the worker number shown as `Pnn` (0 is the main thread). */
export interface LogFields {
  process?: number
  [field: string]: unknown
}

/** `log.info('backup complete')` or `log.info({ label, sizeBytes }, 'backup complete')`. The sentence stands alone. */
export interface LogMethod {
  (message: string): void
  (fields: LogFields, message: string): void
}

/**
 * `info` is for an operator's good day, `warn` must be read, `detail` names files, `debug` is for us.
 * Hints of an error are appended by `logError` in the terminal layer.
 */
export interface Logger {
  readonly error: LogMethod
  readonly warn: LogMethod
  readonly info: LogMethod
  readonly detail: LogMethod
  readonly debug: LogMethod
  readonly trace: LogMethod
  /** Would a record of this level be written anywhere? For messages that cost something to build. */
  enabled(level: MessageLevel): boolean
}

const nothing: LogMethod = () => undefined

/** Writes nowhere; for tests and for callers that do not care. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  detail: nothing,
  debug: nothing,
  trace: nothing,
  enabled: () => false,
}
