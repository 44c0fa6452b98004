import type { Logger as PinoLogger } from 'pino'
import { toPlainError, EXIT_CODES } from '../util/error.ts'
import { requireModule } from '../util/load-module.ts'
import { rankOf, type LogFields, type Logger, type LogMethod, type MessageLevel } from '../util/log.ts'
import { isBuilt } from '../util/version.ts'
import { LogDestination, type LoggerOptions } from './log-destination.ts'
import { REDACTED, secretFields, withoutSecrets, withSecrets } from './log-secrets.ts'

export { descriptorOutput, type TextOutput } from './log-output.ts'

export interface ClosableLogger extends Logger {
  /** No further line contains this secret, which another host has sent. */
  learnSecret(secret: string): void
  /** Further lines are those of this command, in this file if the logger has one. */
  continueAs(command: string, logFile: string): void
  /** Close the log file. Each line is written when it is logged, so no line is lost if this is not called. */
  close(): void
  /** The error of writing to the console, if any. The command continues: a backup must not fail because of its log. */
  failure(): unknown
}

/**
 * Messages become pino's records, which `LogDestination` writes at once, in this thread. pino is loaded with the first
 * written record: most runs of archive-push and archive-get write none.
 */
export function createLogger(options: LoggerOptions): ClosableLogger {
  const { console, stderr, file } = options.levels
  const most = Math.max(rankOf(console), rankOf(stderr), options.logFile === undefined ? 0 : rankOf(file))
  const enabled = (level: MessageLevel) => rankOf(level) <= most
  const destination = new LogDestination(options, (message) => open().warn(message))

  let secrets: readonly string[] | undefined
  const secretsNow = () => (secrets ??= options.secrets?.() ?? [])
  let pino: PinoLogger<MessageLevel> | undefined
  const open = () => (pino ??= openPino(destination, secretsNow, options.now))
  const method = (level: MessageLevel): LogMethod => {
    if (!enabled(level)) return () => undefined
    return (first: string | LogFields, message?: string) => {
      if (typeof first === 'string') open()[level](first)
      else open()[level](first, message ?? '')
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
    learnSecret: (secret) => void (secrets = withSecrets(secretsNow(), [secret])),
    continueAs: (command, logFile) => destination.continueAs(command, logFile),
    close: () => destination.close(),
    failure: () => destination.failure,
  }
}

/** pino's numbers grow with the severity of a record; the record contains the name of the level. */
const PINO_LEVELS: Record<MessageLevel, number> = { error: 60, warn: 50, info: 40, detail: 30, debug: 20, trace: 10 }

/**
 * `{"level":"info","time":1767323045678,"fields":{"process":1},"msg":"..."}`: no field can replace a key of the record.
 * Fields with the name of a secret are redacted, and the values of secrets wherever they are.
 */
function openPino(
  destination: LogDestination,
  secrets: () => readonly string[],
  now: () => number = Date.now,
): PinoLogger<MessageLevel> {
  const { pino } = requireModule<typeof import('pino')>(isBuilt ? './pino.js' : 'pino')
  return pino(
    {
      level: 'trace',
      customLevels: PINO_LEVELS,
      useOnlyCustomLevels: true,
      base: null,
      nestedKey: 'fields',
      formatters: { level: (level) => ({ level }) },
      timestamp: () => `,"time":${now()}`,
      redact: { paths: secretFields().flatMap((name) => [name, `*.${name}`]), censor: REDACTED },
      hooks: { streamWrite: (line) => withoutSecrets(line, secrets()) },
    },
    destination,
  )
}

/** Log an error: code, message, hints; in sinks at level debug also its stack and those of its causes. */
export function logError(log: Logger, error: unknown): void {
  const plain = toPlainError(error)
  const message = [plain.message, ...plain.hints.map((hint) => `HINT: ${hint}`)].join('\n')
  log.error({ code: EXIT_CODES[plain.code], error: plain.code, stack: stackOf(error) }, message)
}

function stackOf(error: unknown): string {
  const stacks: string[] = []
  for (let at = error; at instanceof Error && stacks.length < 10; at = at.cause) {
    const frames = (at.stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
    stacks.push([stacks.length === 0 ? 'STACK TRACE:' : `CAUSED BY: ${at.message}`, ...frames].join('\n'))
  }
  return stacks.join('\n')
}
