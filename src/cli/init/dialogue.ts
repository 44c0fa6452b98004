import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import type { Dialogue } from '../../commands/init/ports.ts'
import { printableLines } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import { descriptorOutput } from '../log-output.ts'

/** The dialogue of init on standard input and output; with JSON on standard error, without questions. */
export function openDialogue(json: boolean, signal: AbortSignal): Dialogue & Disposable {
  const output = descriptorOutput(json ? 2 : 1)
  let terminal: Terminal | undefined
  const ask = (question: string, isSecret: boolean) => (terminal ??= new Terminal(signal)).ask(question, isSecret)
  const close = () => {
    terminal?.[Symbol.dispose]()
    terminal = undefined
  }
  return {
    interactive: !json && process.stdin.isTTY === true && process.stdout.isTTY === true,
    say: (...lines) => void output.write(lines.map((line) => `${printableLines(line)}\n`).join('')),
    ask: (question) => ask(question, false),
    askSecret: (question) => ask(question, true),
    endQuestions: close,
    [Symbol.dispose]: close,
  }
}

/** Standard output, through which readline echoes what is typed. */
class Echo extends Writable {
  isHidden = false
  get columns(): number {
    return process.stdout.columns
  }
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    if (!this.isHidden) process.stdout.write(chunk)
    done()
  }
}

/** Lines typed at the terminal; those that come before their question are kept. While it is open, ^C is a key. */
class Terminal {
  readonly #echo = new Echo()
  readonly #lines: Interface
  readonly #typed: string[] = []
  readonly #signal: AbortSignal
  #waiting: { resolve(line: string): void; reject(error: unknown): void } | undefined
  #end: unknown

  constructor(signal: AbortSignal) {
    this.#signal = signal
    this.#lines = createInterface({ input: process.stdin, output: this.#echo, terminal: true, historySize: 0 })
    this.#lines.on('line', (line) => {
      if (this.#waiting === undefined) this.#typed.push(line)
      else this.#waiting.resolve(line)
    })
    this.#lines.once('SIGINT', () => this.#fail(ended('^C')))
    this.#lines.once('close', () => this.#fail(ended('the end of its input')))
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  async ask(question: string, isSecret: boolean): Promise<string> {
    this.#signal.throwIfAborted()
    if (this.#end !== undefined) throw this.#end
    this.#lines.setPrompt(question)
    this.#lines.prompt()
    this.#echo.isHidden = isSecret
    try {
      const early = this.#typed.shift()
      const line = early ?? (await new Promise<string>((resolve, reject) => (this.#waiting = { resolve, reject })))
      return line.trim()
    } finally {
      this.#waiting = undefined
      this.#echo.isHidden = false
      if (isSecret || this.#end !== undefined) process.stdout.write('\n')
    }
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#end ??= ended('its caller')
    this.#lines.close()
  }

  readonly #onAbort = () => this.#fail(this.#signal.reason)

  #fail(error: unknown): void {
    this.#end ??= error
    this.#waiting?.reject(this.#end)
  }
}

function ended(by: string): PgtsError {
  return new PgtsError('term', `init was ended by ${by}: nothing was changed`)
}
