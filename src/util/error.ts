import type { Text } from './byte-string.ts'

/**
 * Exit codes, shared with pgBackRest so that scripts and monitoring keep working. Never renumbered.
 * @see docs/reference/exit-codes.md, generated from this table
 */
export const EXIT_CODES = {
  assert: 25,
  checksum: 26,
  config: 27,
  'file-invalid': 28,
  format: 29,
  'command-required': 30,
  'option-invalid': 31,
  'option-invalid-value': 32,
  'option-required': 37,
  'pg-running': 38,
  protocol: 39,
  'path-not-empty': 40,
  'file-open': 41,
  'file-read': 42,
  'param-required': 43,
  'archive-mismatch': 44,
  'archive-duplicate': 45,
  'version-not-supported': 46,
  'path-create': 47,
  'command-invalid': 48,
  'host-connect': 49,
  'lock-acquire': 50,
  'backup-mismatch': 51,
  'file-sync': 52,
  'path-open': 53,
  'path-sync': 54,
  'file-missing': 55,
  'db-connect': 56,
  'db-query': 57,
  'db-mismatch': 58,
  'file-remove': 60,
  'path-remove': 61,
  stop: 62,
  term: 63,
  'file-write': 64,
  'feature-not-supported': 67,
  'archive-command-invalid': 68,
  'link-expected': 69,
  'link-destination': 70,
  'host-invalid': 72,
  'path-missing': 73,
  'file-move': 74,
  'backup-set-invalid': 75,
  'tablespace-map': 76,
  'link-map': 78,
  'file-close': 79,
  'db-missing': 80,
  'db-invalid': 81,
  'archive-timeout': 82,
  'file-mode': 83,
  'archive-disabled': 87,
  'file-owner': 88,
  'user-missing': 89,
  'file-exists': 93,
  memory: 94,
  crypto: 95,
  'param-invalid': 96,
  'path-close': 97,
  'file-info': 98,
  'json-format': 99,
  kernel: 100,
  service: 101,
  execute: 102,
  'repo-invalid': 103,
  command: 104,
  access: 105,
  clock: 106,
  unhandled: 124,
  unknown: 125,
  // PostgreSQL interprets smaller codes of restore_command as the end of the archive; above 192 no code means a signal.
  'recovery-stop': 200,
} as const

export type ErrorCode = keyof typeof EXIT_CODES

/** An error that an operator can act on: a stable code, a message, and hints what to do next. */
export class PgtsError extends Error {
  override readonly name = 'PgtsError'
  readonly hints: readonly string[]
  /** The storage denies a removal to these credentials, or because of a lock on the file. */
  readonly denied: boolean
  constructor(
    readonly code: ErrorCode,
    message: Text,
    options: { hints?: readonly Text[]; cause?: unknown; denied?: boolean } = {},
  ) {
    super(message, { cause: options.cause })
    this.hints = options.hints ?? []
    this.denied = options.denied ?? false
  }
  get exitCode(): number {
    return EXIT_CODES[this.code]
  }
}

/** An error as plain data, to be sent between threads. */
export interface PlainError {
  code: ErrorCode
  message: string
  hints: readonly string[]
  denied?: true
  stack?: string
}

export function toPlainError(error: unknown): PlainError {
  if (isPgtsError(error)) {
    const { code, message, hints, denied } = error
    return { code, message, hints, denied: denied || undefined, ...stackOf(error) }
  }
  if (isOutOfFiles(error)) return { code: 'file-open', message: (error as Error).message, hints: [OPEN_FILES_HINT] }
  if (error instanceof Error) {
    const code = isSystemError(error) ? 'kernel' : 'assert'
    return { code, message: error.message, hints: [], ...stackOf(error) }
  }
  return { code: 'unknown', message: String(error), hints: [] }
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An exit code as messages show it: `[041]`. */
export function exitCodeText(exitCode: number): string {
  return `[${String(exitCode).padStart(3, '0')}]`
}

export function fromPlainError(plain: PlainError): PgtsError {
  const error = new PgtsError(plain.code, plain.message, { hints: plain.hints, denied: plain.denied ?? false })
  if (plain.stack !== undefined) error.stack = plain.stack
  return error
}

export function isPgtsError(error: unknown, code?: ErrorCode): error is PgtsError {
  return error instanceof PgtsError && (code === undefined || error.code === code)
}

/**
 * True for an error of this process or its host (a module of pgts cannot be loaded, no memory): it says nothing about
 * the file or repository that was being read.
 */
export function isHostError(error: unknown): boolean {
  return isPgtsError(error, 'execute') || isPgtsError(error, 'memory') || isOutOfFiles(error)
}

export const OPEN_FILES_HINT =
  'raise the limit of open files (ulimit -n, or LimitNOFILE= of the systemd service), or lower process-max'

/** True if this process or its host has no free file descriptor; also if that is the cause of an error. */
function isOutOfFiles(error: unknown): boolean {
  const code = isPgtsError(error) ? systemCode(error.cause) : systemCode(error)
  return code === 'EMFILE' || code === 'ENFILE'
}

/**
 * True for an error in reaching a store (credentials, network, bucket, clock). Like a host error, it says nothing about
 * the file.
 */
export function isStoreError(error: unknown): error is PgtsError {
  return isPgtsError(error) && STORE_ERRORS.has(error.code)
}

const STORE_ERRORS: ReadonlySet<ErrorCode> = new Set([
  'access',
  'clock',
  'host-connect',
  'path-missing',
  'protocol',
  'service',
])

/** True for a denied removal. A retry does not help; the file may stay if nothing depends on it. */
export function isDenied(error: unknown): error is PgtsError {
  return error instanceof PgtsError && error.denied
}

/** The `code` of a Node system error (`ENOENT`, `EACCES`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' ? code : undefined
}

/** True for an error of the system (`EIO`), not of Node (`ERR_INVALID_ARG_TYPE`), which is a bug. */
export function isSystemError(error: unknown): boolean {
  return /^E[A-Z0-9]+$/.test(systemCode(error) ?? '')
}

function stackOf(error: Error): { stack?: string } {
  return error.stack === undefined ? {} : { stack: error.stack }
}
