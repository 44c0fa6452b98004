import type { ConfigFile } from '../../config/change/config-file.ts'

/** The person at the terminal, or the lack of one. */
export interface Dialogue {
  /** False in a pipe, from cron, and with --output=json: then every question must be answered by an option. */
  readonly interactive: boolean
  /** Shows lines of text; with --output=json on standard error. */
  say(...lines: readonly string[]): void
  /** The typed answer, trimmed. Rejects with [063] when the input ends. */
  ask(question: string): Promise<string>
  /** As `ask`, and what is typed is not shown. */
  askSecret(question: string): Promise<string>
  /** No question follows: the terminal is given back, so that ^C is a signal again. */
  endQuestions(): void
}

/** What the terminal layer provides to init. */
export interface InitPorts {
  readonly dialogue: Dialogue
  /** The configuration file that this run reads, or that it would read if it existed. */
  openConfig(): Promise<ConfigFile>
}
