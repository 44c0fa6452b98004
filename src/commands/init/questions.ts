import { PgtsError } from '../../util/error.ts'
import type { Dialogue } from './ports.ts'

export interface Question<T> {
  /** Option that answers it, for the list of missing answers: `--stanza`. */
  readonly flag: string
  /** At most 60 columns, without the proposal. */
  readonly text: string
  /** The answer of the option; undefined if it was not given. */
  readonly given: T | undefined
}

export interface TextQuestion extends Question<string> {
  readonly proposal?: string
  /** Why an answer is not accepted; undefined if it is. */
  readonly problem?: (answer: string) => string | undefined
}

/**
 * The questions of init. Options come first; then the terminal, or with --yes (and --dry-run) the proposal. Without a
 * terminal the missing answers are collected, so that one error lists all of them.
 */
export class Questions {
  readonly #dialogue: Dialogue
  readonly #useProposals: boolean
  readonly #missing: { readonly flag: string; readonly proposal?: string }[] = []

  constructor(dialogue: Dialogue, useProposals: boolean) {
    this.#dialogue = dialogue
    this.#useProposals = useProposals
  }

  async text(question: TextQuestion): Promise<string> {
    const { flag, given, proposal, problem = () => undefined } = question
    if (given !== undefined) {
      const why = problem(given)
      if (why !== undefined) throw new PgtsError('option-invalid-value', `${flag} '${given}': ${why}`)
      return given
    }
    if (this.#useProposals && proposal !== undefined) return proposal
    if (!this.#dialogue.interactive) return this.#notAnswered(flag, proposal)
    const shown = proposal === undefined ? '' : ` [${proposal}]`
    for (;;) {
      const typed = await this.#dialogue.ask(`${question.text}${shown}: `)
      const answer = typed === '' ? (proposal ?? '') : typed
      const why = answer === '' ? 'an answer is required' : problem(answer)
      if (why === undefined) return answer
      this.#dialogue.say(`  ${why}`)
    }
  }

  /** One of several words; a unique beginning of a word is enough. */
  async choice(question: TextQuestion & { readonly choices: readonly string[] }): Promise<string> {
    const { choices } = question
    const complete = (answer: string) => choices.filter((choice) => choice.startsWith(answer.toLowerCase()))
    const answer = await this.text({
      ...question,
      text: `${question.text} (${choices.join(', ')})`,
      problem: (typed) => (complete(typed).length === 1 ? undefined : `choose one of: ${choices.join(', ')}`),
    })
    return complete(answer)[0] ?? answer
  }

  async consent(question: Question<boolean> & { readonly proposal: boolean }): Promise<boolean> {
    const { flag, given, proposal, text } = question
    if (given !== undefined) return given
    if (this.#useProposals) return proposal
    if (!this.#dialogue.interactive) return this.#notAnswered(flag, proposal ? 'y' : 'n') === 'y'
    for (;;) {
      const typed = (await this.#dialogue.ask(`${text} ${proposal ? '[Y/n]' : '[y/N]'} `)).toLowerCase()
      if (typed === '') return proposal
      if (/^(y|yes)$/.test(typed)) return true
      if (/^(n|no)$/.test(typed)) return false
      this.#dialogue.say('  answer y or n')
    }
  }

  /** A secret has no proposal, so --yes does not answer it. */
  async secret(question: Question<string>): Promise<string> {
    if (question.given !== undefined) return question.given
    if (!this.#dialogue.interactive) return this.#notAnswered(question.flag)
    for (;;) {
      const typed = await this.#dialogue.askSecret(`${question.text} (not shown): `)
      if (typed !== '') return typed
      this.#dialogue.say('  an answer is required')
    }
  }

  /** @throws PgtsError option-required that lists every missing option */
  requireAnswers(): void {
    if (this.#missing.length === 0) return
    const flags = this.#missing.map(({ flag }) => flag)
    const proposals = this.#missing.flatMap(({ flag, proposal }) =>
      proposal === undefined ? [] : [`${flag.replace(/^--/, '')}=${proposal}`],
    )
    const isProposed = proposals.length === this.#missing.length
    throw new PgtsError('option-required', `init has no terminal to ask at and needs: ${flags.join(', ')}`, {
      hints: [
        'give the options, or run init at a terminal',
        ...(isProposed ? [`--yes uses the proposals: ${proposals.join(' ')}`] : []),
        '--dry-run shows what init would do, without doing it',
      ],
    })
  }

  #notAnswered(flag: string, proposal?: string): string {
    this.#missing.push({ flag, proposal })
    return proposal ?? ''
  }
}
