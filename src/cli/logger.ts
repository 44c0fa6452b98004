import type { DestinationStream, Logger as PinoLogger } from 'pino'
import { toPlainError, EXIT_CODES } from '../util/error.ts'
import { requireModule } from '../util/load-module.ts'
import {
  LOG_LEVELS,
  type LogFields,
  type Logger,
  type LogLevel,
  type LogMethod,
  type MessageLevel,
} from '../util/log.ts'
import type { ProgramName } from '../util/program-name.ts'
import { isBuilt } from '../util/version.ts'
import { formatLine, formatShortLine, type LogRecord } from './log-line.ts'
import { fileOutput, type TextOutput } from './log-output.ts'
import { withShownName } from './shown-name.ts'

export { descriptorOutput, type TextOutput } from './log-output.ts'

export interface LoggerOptions {
  readonly levels: { readonly console: LogLevel; readonly file: LogLevel; readonly stderr: LogLevel }
  /** Shown in command lines of messages. Default: pgts. */
  readonly programName?: ProgramName
  readonly timestamp: boolean
  /** Absolute path as text; without it nothing goes to a file. */
  readonly logFile?: string
  readonly stdout: TextOutput
  readonly stderr: TextOutput
  readonly processMax: number
  readonly dryRun?: boolean
  readonly now?: () => number
}

export interface ClosableLogger extends Logger {
  /** Write further lines to this file instead, where there is a log file. */
  continueIn(logFile: string): void
  /** Close the log file. Lines are written as they come, so nothing is lost without it. */
  close(): void
  /** Why the console took no more lines. The command goes on: a backup must not end for want of a place for its log. */
  failure(): unknown
}

/**
 * Log lines in pgBackRest's form. A record goes to stderr when that sink's level wants it, else to the console when
 * that one does, and to the file besides.
 */
export function createLogger(options: LoggerOptions): ClosableLogger {
  const most = Math.max(
    rank(options.levels.console),
    rank(options.levels.stderr),
    options.logFile ? rank(options.levels.file) : 0,
  )
  const enabled = (level: MessageLevel) => rank(level) <= most
  const destination = new Destination(options)

  // pino is loaded by the first record that is written: most runs of archive-push and version write none.
  let pino: PinoLogger<MessageLevel> | undefined
  const method = (level: MessageLevel): LogMethod => {
    if (!enabled(level)) return () => undefined
    return (first: string | LogFields, message?: string) => {
      pino ??= loadPino(destination)
      if (typeof first === 'string') pino[level]({}, first)
      else pino[level](first, message ?? '')
    }
  }
  return {
    error: method('error'),
    warn: method('warn'),
    info: method('info'),
    detail: method('detail'),
    debug: method('debug'),
    trace: method('trace'),
    enabled,
    continueIn: (logFile) => destination.continueIn(logFile),
    close: () => destination.close(),
    failure: () => destination.failure,
  }
}

/** One error as an operator reads it: code, what happened, hints; below, where debug is on, where it came from. */
export function logError(log: Logger, error: unknown): void {
  const plain = toPlainError(error)
  const message = [plain.message, ...plain.hints.map((hint) => `HINT: ${hint}`)].join('\n')
  log.error({ code: EXIT_CODES[plain.code], origin: originOf(error) }, message)
}

function originOf(error: unknown): string {
  const stacks: string[] = []
  for (let at = error; at instanceof Error && stacks.length < 10; at = at.cause) {
    const frames = (at.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
    stacks.push([stacks.length === 0 ? 'STACK TRACE:' : `CAUSED BY: ${at.message}`, ...frames].join('\n'))
  }
  return stacks.join('\n')
}

function rank(level: LogLevel): number {
  return LOG_LEVELS.indexOf(level)
}

/** pino's numbers grow with the importance of a record. */
const PINO_LEVELS: Record<MessageLevel, number> = { error: 60, warn: 50, info: 40, detail: 30, debug: 20, trace: 10 }
const LEVEL_OF = new Map(Object.entries(PINO_LEVELS).map(([level, number]) => [number, level as MessageLevel]))

function loadPino(destination: DestinationStream): PinoLogger<MessageLevel> {
  const { pino } = requireModule<typeof import('pino')>(isBuilt ? '../cli/pino.cjs' : 'pino')
  return pino(
    { level: 'trace', customLevels: PINO_LEVELS, useOnlyCustomLevels: true, base: null, timestamp: false },
    destination,
  )
}

/** Receives pino's records, with their parts as pino leaves them on a destination that asks for metadata. */
class Destination implements DestinationStream {
  lastLevel = 0
  lastMsg = ''
  lastObj: LogFields & { code?: unknown; origin?: unknown } = {}
  failure: unknown
  readonly #options: LoggerOptions
  #logFile: string | undefined
  #file: (TextOutput & { close(): void }) | undefined

  constructor(options: LoggerOptions) {
    this.#options = options
    Object.assign(this, { [Symbol.for('pino.metadata')]: true })
    this.#open(options.logFile)
  }

  continueIn(logFile: string): void {
    if (this.#logFile === undefined) return
    this.close()
    this.#open(logFile)
  }

  #open(logFile: string | undefined): void {
    this.#logFile = logFile
    this.#file = logFile === undefined ? undefined : fileOutput(logFile)
  }

  write(): void {
    const { code, process, origin } = this.lastObj ?? {}
    const record: LogRecord = {
      level: LEVEL_OF.get(this.lastLevel) ?? 'error',
      message: withShownName(this.lastMsg ?? '', this.#options.programName ?? 'pgts'),
      process: typeof process === 'number' ? process : 0,
      timeMs: (this.#options.now ?? Date.now)(),
      ...(typeof code === 'number' ? { code } : {}),
    }
    this.#emit(record, typeof origin === 'string' ? origin : '')
  }

  close(): void {
    this.#file?.close()
  }

  #emit(record: LogRecord, origin: string): void {
    const { levels, stdout, stderr } = this.#options
    const style = { ...this.#options, dryRun: this.#options.dryRun ?? false }
    const wants = (level: LogLevel) => rank(record.level) <= rank(level)
    const withOrigin = (level: LogLevel): LogRecord =>
      origin !== '' && rank(level) >= rank('debug') ? { ...record, message: `${record.message}\n${origin}` } : record

    if (wants(levels.stderr)) {
      const wordier = rank(levels.stderr) > rank(levels.console) ? levels.stderr : levels.console
      this.#toConsole(stderr, formatShortLine(withOrigin(wordier), style))
    } else if (wants(levels.console)) {
      this.#toConsole(stdout, formatLine(withOrigin(levels.console), style))
    }
    if (this.#file === undefined || !wants(levels.file)) return
    try {
      this.#file.write(formatLine(withOrigin(levels.file), style))
    } catch (error) {
      this.#withoutFile(record, error)
    }
  }

  #toConsole(output: TextOutput, line: string): void {
    if (this.failure !== undefined) return
    try {
      output.write(line)
    } catch (error) {
      this.failure = error
    }
  }

  /** A log that cannot be written is worth a warning, never the backup. */
  #withoutFile(record: LogRecord, error: unknown): void {
    const file = this.#file
    this.#file = undefined
    const why = error instanceof Error ? error.message : String(error)
    const message = `cannot write the log file ${this.#logFile}: ${why}\nHINT: check the owner and permissions of log-path, or set log-level-file=off; this run goes on without the file`
    this.#emit({ level: 'warn', message, process: record.process, timeMs: record.timeMs }, '')
    try {
      file?.close()
    } catch {
      // It failed already.
    }
  }
}
