import type { LogFields, LogFormat, LogLevel, MessageLevel } from '../util/log.ts'
import { rankOf } from '../util/log.ts'
import type { ProgramName } from '../util/program-name.ts'
import { formatJson, formatLine, formatShortLine, type LogOrigin, type LogRecord } from './log-line.ts'
import { fileOutput, type TextOutput } from './log-output.ts'
import { withShownName } from './shown-name.ts'
import { messageOf } from '../util/error.ts'

export interface LoggerOptions {
  readonly levels: { readonly console: LogLevel; readonly file: LogLevel; readonly stderr: LogLevel }
  /** Name in command lines of messages. Default: pgts. */
  readonly programName?: ProgramName
  /** Default: text. */
  readonly format?: LogFormat
  /** For lines in JSON. */
  readonly origin?: LogOrigin
  /** Texts that no line may contain, the longest first; called once, with the first record or before. */
  readonly secrets?: () => readonly string[]
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
  readonly fields?: LogFields & { readonly code?: unknown; readonly stack?: unknown }
}

/**
 * Writes pino's records, as JSON or in pgBackRest's line form. A record goes to stderr if that level includes it, otherwise to the
 * console if that level does, and in addition to the file.
 */
export class LogDestination {
  /** The error of writing to the console, if any; later lines are dropped there. */
  failure: unknown
  readonly #options: LoggerOptions
  readonly #warn: (message: string) => void
  #logFile: string | undefined
  #origin: LogOrigin
  #file: (TextOutput & { close(): void }) | undefined

  /** @param warn logs that the file cannot be written */
  constructor(options: LoggerOptions, warn: (message: string) => void) {
    this.#options = options
    this.#warn = warn
    this.#origin = options.origin ?? { command: '', stanza: '' }
    this.#open(options.logFile)
  }

  continueAs(command: string, logFile: string): void {
    this.#origin = { ...this.#origin, command }
    if (this.#logFile === undefined) return
    this.close()
    this.#open(logFile)
  }

  #open(logFile: string | undefined): void {
    this.#logFile = logFile
    this.#file = logFile === undefined ? undefined : fileOutput(logFile, this.#options.format !== 'json')
  }

  /** @param line one record of pino, as JSON */
  write(line: string): void {
    const { level, time, msg, fields: { code, process, stack, ...fields } = {} } = JSON.parse(line) as PinoRecord
    const record: LogRecord = {
      level,
      message: withShownName(msg, this.#options.programName ?? 'pgts'),
      process: typeof process === 'number' ? process : 0,
      timeMs: time,
      code: typeof code === 'number' ? code : undefined,
      fields,
    }
    this.#emit(record, typeof stack === 'string' && stack !== '' ? stack : undefined)
  }

  close(): void {
    this.#file?.close()
  }

  #emit(record: LogRecord, stack: string | undefined): void {
    const { levels, stdout, stderr } = this.#options
    const wants = (level: LogLevel) => rankOf(record.level) <= rankOf(level)
    const withStack = (level: LogLevel): LogRecord => (rankOf(level) >= rankOf('debug') ? { ...record, stack } : record)

    if (wants(levels.stderr)) {
      const moreDetailed = rankOf(levels.stderr) > rankOf(levels.console) ? levels.stderr : levels.console
      this.#toConsole(stderr, this.#lineOf(withStack(moreDetailed), stderr, formatShortLine))
    } else if (wants(levels.console)) {
      this.#toConsole(stdout, this.#lineOf(withStack(levels.console), stdout, formatLine))
    }
    if (this.#file === undefined || !wants(levels.file)) return
    try {
      this.#file.write(this.#lineOf(withStack(levels.file), this.#file, formatLine))
    } catch (error) {
      this.#closeFailedFile(error)
    }
  }

  #lineOf(record: LogRecord, { isTerminal }: TextOutput, format: typeof formatLine): string {
    const { dryRun = false, timestamp, processMax } = this.#options
    if (this.#options.format === 'json') return formatJson(record, this.#origin, dryRun)
    return format(record, { timestamp, processMax, dryRun, terminal: isTerminal === true })
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
