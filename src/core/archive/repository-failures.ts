import { EXIT_CODES, PgtsError, isPgtsError, toPlainError } from '../../util/error.ts'

/**
 * What went wrong in which repository, while the others are still tried. One repository's trouble must not keep WAL
 * from the others, and must not be forgotten either.
 */
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
   * The error that stands for all of them. A single failure where there is a single repository keeps its own code and
   * words; otherwise every failure is named under `code`.
   */
  toError(
    code: 'command' | 'repo-invalid',
    story: string,
    repositories: number,
    hints: readonly string[] = [],
  ): PgtsError {
    const only = this.#failures.length === 1 && repositories === 1 ? this.#failures[0] : undefined
    if (only !== undefined && isPgtsError(only.error)) {
      return new PgtsError(only.error.code, `repo${only.key}: ${only.error.message}`, {
        hints: [...only.error.hints, ...hints],
        cause: only.error,
      })
    }
    return new PgtsError(code, `${story}:\n${this.lines().join('\n')}`, {
      hints: [...this.hints(), ...hints],
      cause: this.#failures[0]?.error,
    })
  }
}

export function describeFailure(key: number, error: unknown): string {
  const { code, message } = toPlainError(error)
  return `repo${key}: [${String(EXIT_CODES[code]).padStart(3, '0')}] ${message}`
}
