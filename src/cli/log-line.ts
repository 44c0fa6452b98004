import { printableJson, printableLines } from '../util/byte-string.ts'
import { localDateTime } from '../util/local-time.ts'
import type { MessageLevel } from '../util/log.ts'
import { exitCodeText } from '../util/error.ts'

/** One record to format; the same for every sink. */
export interface LogRecord {
  readonly level: MessageLevel
  readonly message: string
  /** Error number, shown as `[055]: `. */
  readonly code?: number
  /** Worker number; 0 is the main thread. */
  readonly process: number
  readonly timeMs: number
  /** Shown in JSON only. */
  readonly fields?: Readonly<Record<string, unknown>>
  /** Stack of an error, in sinks at level debug. */
  readonly stack?: string
}

export interface LineStyle {
  readonly timestamp: boolean
  /** Above 99 the worker number takes three digits. */
  readonly processMax: number
  readonly dryRun: boolean
  /** For a person at a terminal: the lines of a message after the first have a small indentation. */
  readonly terminal?: boolean
}

/** What every JSON line of one command contains. */
export interface LogOrigin {
  /** `backup`, `archive-push:async`. */
  readonly command: string
  /** '' if the command was called without a stanza. */
  readonly stanza: string
}

/**
 * `2026-01-02 03:04:05.678 P00   INFO: text` with a newline. Further lines are indented to the text, except on a
 * terminal.
 */
export function formatLine(record: LogRecord, style: LineStyle): string {
  const time = style.timestamp ? `${localDateTime(record.timeMs / 1000)}.${milliseconds(record.timeMs)} ` : ''
  const process = String(record.process).padStart(style.processMax > 99 ? 3 : 2, '0')
  return layOut(`${time}P${process} ${levelWord(record).padStart(6)}: `, record, style)
}

/** `INFO: text`: the form for stderr, without time and process. */
export function formatShortLine(record: LogRecord, style: LineStyle): string {
  return layOut(`${levelWord(record)}: `, record, style)
}

/**
 * One JSON object in one line, also for a message with line breaks. Control characters are escaped; the lines of a message
 * that begin with `HINT: ` are a list.
 */
export function formatJson(record: LogRecord, { command, stanza }: LogOrigin, dryRun: boolean): string {
  const lines = record.message.split('\n')
  let end = lines.length
  while (end > 1 && lines[end - 1]?.startsWith(HINT) === true) end--
  const hints = lines.slice(end).map((line) => line.slice(HINT.length))
  const members = {
    time: new Date(record.timeMs).toISOString(),
    level: record.level,
    pid: process.pid,
    worker: record.process,
    command: command === '' ? undefined : command,
    stanza: stanza === '' ? undefined : stanza,
    dryRun: dryRun || undefined,
    code: record.code,
    message: lines.slice(0, end).join('\n'),
    hints: hints.length === 0 ? undefined : hints,
    fields: Object.keys(record.fields ?? {}).length === 0 ? undefined : record.fields,
    stack: record.stack,
  }
  return `${printableJson(JSON.stringify(members))}\n`
}

const HINT = 'HINT: '

/** pgBackRest's marker of a new process in a log file. */
export const PROCESS_START = '-------------------PROCESS START-------------------\n'

const TERMINAL_INDENT = 4

function layOut(head: string, record: LogRecord, style: LineStyle): string {
  const padding = record.level === 'trace' ? 8 : record.level === 'debug' ? 4 : 0
  const code = record.code === undefined ? '' : `${exitCodeText(record.code)}: `
  // The code and the dry-run marker do not change the indentation of further lines: parsers of pgBackRest's log expect
  // this.
  const indent = `\n${' '.repeat(style.terminal === true ? TERMINAL_INDENT : head.length + padding)}`
  const whole = record.stack === undefined ? record.message : `${record.message}\n${record.stack}`
  const text = printableLines(whole).replaceAll('\n', indent)
  return `${head}${code}${style.dryRun ? '[DRY-RUN] ' : ''}${' '.repeat(padding)}${text}\n`
}

function levelWord(record: LogRecord): string {
  return record.level === 'error' && record.code === ASSERT ? 'ASSERT' : record.level.toUpperCase()
}
const ASSERT = 25

function milliseconds(timeMs: number): string {
  return String(Math.floor(timeMs) % 1000).padStart(3, '0')
}
