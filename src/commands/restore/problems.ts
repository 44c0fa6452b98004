import type { Problem } from '../../core/restore/plan-report.ts'
import type { Finding } from '../../core/restore/reachable.ts'
import { EXIT_CODES, isPgtsError, PgtsError } from '../../util/error.ts'
import type { Logger, LogMethod } from '../../util/log.ts'
import { programName } from '../../util/program-name.ts'
import type { CommandContext } from '../context.ts'

type Context = CommandContext<'restore'>

export type FindingKind = Finding['kind'] | 'space'

/** Findings for which pgts does not begin a restore. Under the name pgbackrest: only what never worked (decision 41). */
const REFUSED: Readonly<Record<'pgts' | 'pgbackrest', ReadonlySet<FindingKind>>> = {
  pgts: new Set<FindingKind>(['backup-wal', 'backup-wal-end', 'target', 'space']),
  pgbackrest: new Set<FindingKind>(['backup-wal']),
}

/**
 * What the checks before a restore find. A restore ends with the first refusal and logs the rest; a dry run collects
 * everything for its report.
 */
export class Problems {
  readonly found: Problem[] = []
  readonly #ctx: Context
  readonly #refused: ReadonlySet<FindingKind>

  constructor(ctx: Context) {
    this.#ctx = ctx
    // With a restore_command of its own, recovery reads WAL from another place than the archive.
    const isOwn = [...(ctx.options.recoveryOption?.keys() ?? [])].some((key) => /^restore[-_]command$/.test(key))
    const isChecked = ctx.options.restoreCheck && !isOwn
    this.#refused = isChecked ? REFUSED[programName(ctx.program)] : new Set<FindingKind>()
  }

  /** For what logs warnings itself. */
  get logger(): Logger {
    const { log, options } = this.#ctx
    if (!options.dryRun) return log
    const collect: LogMethod = (first: unknown, message?: string) => this.warn(message ?? String(first))
    return { ...log, warn: collect }
  }

  /** Runs a check that throws what it refuses. */
  check(check: () => void): void {
    try {
      check()
    } catch (error) {
      if (!this.#ctx.options.dryRun || !isPgtsError(error)) throw error
      this.found.push({ exitCode: EXIT_CODES[error.code], message: error.message, hints: error.hints })
    }
  }

  /** @throws PgtsError backup-set-invalid [075] if the finding is refused; of a dry run nothing */
  add({ kind, message, hints }: { kind: FindingKind; message: string; hints: readonly string[] }): void {
    if (this.#refused.has(kind)) {
      const override = 'use --no-restore-check to restore regardless, for example if the WAL is brought by hand'
      this.check(() => {
        throw new PgtsError('backup-set-invalid', message, { hints: [...hints, override] })
      })
    } else this.warn([message, ...hints.map((hint) => `HINT: ${hint}`)].join('\n'))
  }

  /** @param text hints are further lines, `HINT: ...` */
  warn(text: string): void {
    if (!this.#ctx.options.dryRun) return this.#ctx.log.warn(text)
    const lines = text.split('\n')
    const hints = lines.filter((line) => line.startsWith('HINT: ')).map((line) => line.slice('HINT: '.length))
    this.found.push({ message: lines.filter((line) => !line.startsWith('HINT: ')).join('\n'), hints })
  }
}
