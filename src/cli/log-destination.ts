import type { LogFields, LogLevel, MessageLevel } from '../util/log.ts'
import { rankOf } from '../util/log.ts'
import type { ProgramName } from '../util/program-name.ts'
import { formatLine, formatShortLine, type LogRecord } from './log-line.ts'
import { fileOutput, type TextOutput } from './log-output.ts'
import { withShownName } from './shown-name.ts'
import { messageOf } from '../util/error.ts'

export interface LoggerOptions {
  readonly levels: { readonly console: LogLevel; readonly file: LogLevel; readonly stderr: LogLevel }
  /** Name in command lines of messages. Default: pgts. */
  readonly programName?: ProgramName
  readonly timestamp: boolean
  /** Absolute path as text. Absent: no log file. */
  readonly logFile?: string
  readonly stdout: TextOutput
  readonly stderr: TextOutput
  readonly processMax: number
  readonly dryRun?: boolean
  readonly now?: () => number
}

/** A record as pino serialises it. */
interface PinoRecord {
  readonly level: MessageLevel
  readonly time: number
  readonly msg: string
  readonly fields?: LogFields & { readonly code?: unknown; readonly origin?: unknown }
}

/**
 * Writes pino's records in pgBackRest's line form. A record goes to stderr if that level includes it, otherwise to the
 * console if that level does, and in addition to the file.
 */
export class LogDestination {
  /** The error of writing to the console, if any; later lines are dropped there. */
  failure: unknown
  readonly #options: LoggerOptions
  readonly #warn: (message: string) => void
  #logFile: string | undefined
  #file: (TextOutput & { close(): void }) | undefined

  /** @param warn logs that the file cannot be written */
  constructor(options: LoggerOptions, warn: (message: string) => void) {
    this.#options = options
    this.#warn = warn
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

  /** @param line one record of pino, as JSON */
  write(line: string): void {
    const { level, time, msg, fields: { code, process, origin } = {} } = JSON.parse(line) as PinoRecord
    const record: LogRecord = {
      level,
      message: withShownName(msg, this.#options.programName ?? 'pgts'),
      process: typeof process === 'number' ? process : 0,
      timeMs: time,
      code: typeof code === 'number' ? code : undefined,
    }
    this.#emit(record, typeof origin === 'string' ? origin : '')
  }

  close(): void {
    this.#file?.close()
  }

  #emit(record: LogRecord, origin: string): void {
    const { levels, stdout, stderr } = this.#options
    const style = { ...this.#options, dryRun: this.#options.dryRun ?? false }
    const styleOf = ({ isTerminal }: TextOutput) => ({ ...style, terminal: isTerminal === true })
    const wants = (level: LogLevel) => rankOf(record.level) <= rankOf(level)
    const withOrigin = (level: LogLevel): LogRecord =>
      origin !== '' && rankOf(level) >= rankOf('debug')
        ? { ...record, message: `${record.message}\n${origin}` }
        : record

    if (wants(levels.stderr)) {
      const moreDetailed = rankOf(levels.stderr) > rankOf(levels.console) ? levels.stderr : levels.console
      this.#toConsole(stderr, formatShortLine(withOrigin(moreDetailed), styleOf(stderr)))
    } else if (wants(levels.console)) {
      this.#toConsole(stdout, formatLine(withOrigin(levels.console), styleOf(stdout)))
    }
    if (this.#file === undefined || !wants(levels.file)) return
    try {
      this.#file.write(formatLine(withOrigin(levels.file), style))
    } catch (error) {
      this.#closeFailedFile(error)
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

  /** A log file that cannot be written is reported once; the command continues without it. */
  #closeFailedFile(error: unknown): void {
    const file = this.#file
    this.#file = undefined
    const why = messageOf(error)
    this.#warn(
      `cannot write the log file ${this.#logFile}: ${why}\nHINT: check the owner and permissions of log-path, or set log-level-file=off; this run continues without the file`,
    )
    try {
      file?.close()
    } catch {
      // Writing it failed already.
    }
  }
}
