import { EXIT_CODES, exitCodeText, isPgtsError, PgtsError, toPlainError } from '../../util/error.ts'
import { repoId } from '../../util/repo-id.ts'

/** Errors by repository. A repository that fails must not prevent storing WAL in the others, and its error is reported. */
export class RepositoryFailures {
  readonly #failures: { readonly key: number; readonly error: unknown }[] = []

  add(key: number, error: unknown): void {
    this.#failures.push({ key, error })
  }

  get count(): number {
    return this.#failures.length
  }

  entries(): readonly { readonly key: number; readonly error: unknown }[] {
    return this.#failures
  }

  /** `repo2: [055] message` */
  lines(): string[] {
    return this.#failures.map(({ key, error }) => describeFailure(key, error))
  }

  hints(): string[] {
    return [...new Set(this.#failures.flatMap(({ error }) => (isPgtsError(error) ? error.hints : [])))]
  }

  /**
   * One error for all of them. The failure of a single configured repository keeps its code and message; otherwise the
   * message lists every failure, and the code is `code`.
   */
  toError(
    code: 'command' | 'repo-invalid',
    summary: string,
    repositories: number,
    hints: readonly string[] = [],
  ): PgtsError {
    const only = this.#failures.length === 1 && repositories === 1 ? this.#failures[0] : undefined
    if (only !== undefined && isPgtsError(only.error)) {
      return new PgtsError(only.error.code, `${repoId(only.key)}: ${only.error.message}`, {
        hints: [...only.error.hints, ...hints],
        cause: only.error,
      })
    }
    return new PgtsError(code, `${summary}:\n${this.lines().join('\n')}`, {
      hints: [...this.hints(), ...hints],
      cause: this.#failures[0]?.error,
    })
  }
}

export function describeFailure(key: number, error: unknown): string {
  const { code, message } = toPlainError(error)
  return `${repoId(key)}: ${exitCodeText(EXIT_CODES[code])} ${message}`
}
