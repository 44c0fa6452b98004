/** What a command leaves for the terminal. */
export interface Outcome {
  /** For stdout, as it is: line ends included. */
  readonly text?: string
  /** Default 0. */
  readonly exitCode?: number
}
