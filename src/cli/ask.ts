import { createInterface } from 'node:readline/promises'

/** The answer typed at the terminal, trimmed; undefined if input or output is not a terminal. */
export async function askTerminal(question: string, signal: AbortSignal): Promise<string | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY) return undefined
  // stdout belongs to reports.
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await terminal.question(question, { signal })).trim()
  } finally {
    terminal.close()
  }
}
