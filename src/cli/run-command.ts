import { commandRow, type CommandName } from '../config/command-table.ts'
import { commandBeginArgs } from '../config/begin-line.ts'
import { type AnyResolved } from '../config/resolve.ts'
import { withStanzaHints } from '../core/info-missing.ts'
import { printableJson, printableLines } from '../util/byte-string.ts'
import { EXIT_CODES, exitCodeText, PgtsError, toPlainError } from '../util/error.ts'
import type { LogLevel } from '../util/log.ts'
import { programName } from '../util/program-name.ts'
import { pgtsVersion } from '../util/version.ts'
import { openContext } from './context.ts'
import { stopsRecovery } from './exit.ts'
import { endedTooEarly, reportShortly } from './last-resort.ts'
import { secretsOf } from './log-secrets.ts'
import { createLogger, descriptorOutput, logError, type ClosableLogger } from './logger.ts'
import { TerminalProgress } from './progress.ts'
import type { CommandRows, Outcome, RunRow } from './command-row.ts'

/** Environment of the command. */
export interface Process {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** Absolute path of the program. */
  readonly program: string
  readonly signal: AbortSignal
}

const stdout = descriptorOutput(1)
const stderr = descriptorOutput(2)

/** Run a command with resolved options and log its error. @returns the exit code */
export async function runCommand(resolved: AnyResolved, process: Process, rows: CommandRows): Promise<number> {
  const { command, role, options, warnings } = resolved
  if (options.neutralUmask === true) globalThis.process.umask(0)
  const progress = new TerminalProgress(terminalFor(resolved, process.env))
  const log = openLog(resolved, process, progress)
  let end = begin(resolved, command, log)
  if (commandRow(command).reportsWarnings !== true) for (const warning of warnings) log.warn(warning)

  // The entry point writes the error to the terminal; this writes it to the log.
  const onEarlyEnd = () => logError(log, endedTooEarly())
  if (role !== undefined) globalThis.process.prependOnceListener('beforeExit', onEarlyEnd)
  let { signal } = process
  try {
    await using open = openContext(resolved, {
      log,
      learnSecret: log.learnSecret,
      signal: process.signal,
      progress,
      env: process.env,
      cwd: process.cwd,
      program: process.program,
      continueAs: (next) => {
        end(0)
        log.continueAs(nameOf(resolved, next), logFileOf(resolved, next))
        end = begin(resolved, next, log)
      },
    })
    ;({ signal } = open.ctx)
    const runRow = rows[command] as RunRow<CommandName> | undefined
    if (runRow === undefined) throw new PgtsError('assert', `no row for command ${nameOf(resolved, command)}`)
    const outcome = await runRow(open.ctx, open.launcher)
    progress.end()
    const code = await writeOutcome(outcome, options.output === 'json')
    if (wantsHints(resolved)) for (const hint of outcome.hints ?? []) stderr.write(printableLines(`HINT: ${hint}\n`))
    end(code)
    if (log.failure() !== undefined) throw log.failure()
    if (outcome.result !== undefined && wantsResult(resolved)) stdout.write(printableLines(`${outcome.result}\n`))
    return code
  } catch (error) {
    progress.end()
    // An interrupted command can fail with any error; the abort reason is the actual one.
    const why = signal.aborted ? (signal.reason as unknown) : withStanzaHints(error, resolved.stanzaHints)
    const reported =
      command === 'archive-get' && role === undefined
        ? stopsRecovery(why, resolved.parameters[0] ?? '', [options.pg[0]?.path, process.cwd])
        : why
    const code = EXIT_CODES[toPlainError(reported).code]
    logError(log, reported)
    end(code)
    if (log.failure() !== undefined) reportShortly(reported, [], process.program)
    return code
  } finally {
    globalThis.process.removeListener('beforeExit', onEarlyEnd)
    log.close()
  }
}

/** Pipes, files and cron receive the log only, as from pgbackrest. */
function wantsResult({ options, role }: AnyResolved): boolean {
  const isQuiet = options.output === 'json' || options.logLevelConsole === 'off' || role !== undefined
  return !isQuiet && stdout.isTerminal === true
}

/** A program that reads log lines as JSON must not receive others. */
function wantsHints({ options }: AnyResolved): boolean {
  if (options.output === 'json' || options.logLevelConsole === 'off') return false
  return options.logFormat !== 'json' || stderr.isTerminal === true
}

/** Cron, pipes and background processes have no terminal. */
function terminalFor({ options, role, command }: AnyResolved, env: Process['env']): 'none' | 'plain' | 'full' {
  const isLong = commandRow(command).progress === true && role === undefined
  if (!isLong || options.logLevelConsole === 'off' || stderr.isTerminal !== true) return 'none'
  return env['TERM'] === 'dumb' ? 'plain' : 'full'
}

/** The largest exit code that is not a failure: 1 is "no such file" of archive-get and repo-get. */
const ANSWER_NO = 1

/** Log the begin line of a command. @returns a function that logs its end line */
function begin(resolved: AnyResolved, command: CommandName, log: ClosableLogger): (exitCode: number) => void {
  const { frameLevel } = commandRow(command)
  const name = nameOf(resolved, command)
  const startMs = Date.now()
  const args = log.enabled(frameLevel) ? commandBeginArgs(resolved, command) : ''
  log[frameLevel](`${name} command begin ${pgtsVersion}:${args === '' ? '' : ' '}${args}`)
  return (exitCode) => {
    const durationMs = Date.now() - startMs
    const duration = resolved.options.logTimestamp === false ? '' : ` (${durationMs}ms)`
    const how =
      exitCode > ANSWER_NO ? `aborted with exception ${exitCodeText(exitCode)}` : `completed successfully${duration}`
    log[frameLevel]({ exitCode, durationMs }, `${name} command end: ${how}`)
  }
}

function nameOf({ role }: AnyResolved, command: CommandName): string {
  return role === undefined ? command : `${command}:${role}`
}

function logFileOf(resolved: AnyResolved, command: CommandName): string {
  const { logPath, stanza } = resolved.options
  return `${logPath ?? ''}/${stanza ?? 'all'}-${nameOf(resolved, command).replace(':', '-')}.log`
}

/** Writes a report with escapes, because names from a repository may be forged. */
async function writeOutcome(outcome: Outcome, json: boolean): Promise<number> {
  const shown = json ? printableJson : printableLines
  if (outcome.text !== undefined) stdout.write(shown(outcome.text))
  for await (const piece of outcome.pieces ?? []) {
    // The reader has closed the pipe: do not create the rest.
    if (!stdout.write(shown(piece))) break
  }
  return outcome.exitCode ?? 0
}

/** Programs that parse JSON often read both streams as one, so with JSON the console receives errors only. */
function consoleLevel({ role, options, values }: AnyResolved): LogLevel {
  // A background process has no console.
  if (role !== undefined) return 'off'
  const level = options.logLevelConsole ?? 'warn'
  const isGiven = values.get('log-level-console')?.source === 'command line'
  return options.output === 'json' && level !== 'off' && !isGiven ? 'error' : level
}

function openLog(resolved: AnyResolved, { env, program }: Process, progress: TerminalProgress): ClosableLogger {
  const { command, role, options, values } = resolved
  // Commands that run for every segment, or only report, have no log file unless log-level-file is given.
  const wanted =
    role !== undefined ||
    commandRow(command).logFile === true ||
    values.get('log-level-file')?.source === 'command line'
  return createLogger({
    format: options.logFormat,
    origin: { command: nameOf(resolved, command), stanza: options.stanza ?? '' },
    secrets: () => secretsOf(resolved, env),
    levels: {
      console: consoleLevel(resolved),
      file: options.logLevelFile ?? 'info',
      stderr: role === undefined ? (options.logLevelStderr ?? 'off') : 'off',
    },
    programName: programName(program),
    timestamp: options.logTimestamp ?? true,
    logFile: wanted ? logFileOf(resolved, command) : undefined,
    // Output for programs must not contain log lines.
    stdout: progress.above(options.output === 'json' || command === 'repo-get' ? stderr : stdout),
    stderr: progress.above(stderr),
    processMax: options.processMax ?? 1,
    dryRun: options.dryRun ?? false,
  })
}
