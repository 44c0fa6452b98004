import { spawn, type ChildProcess } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { cleanEnv, testUser } from './test-user.ts'

const DEADLINE_MS = 60_000

/** A program of the test user in a pseudo-terminal of 80x24, driven like by a person: read, then type. */
export class Terminal implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<number | null>
  #output = ''
  #read = 0

  constructor(words: readonly string[], cwd: string) {
    // Without exec ^C would end the shell, too, with its own exit code.
    const command = `stty rows 24 cols 80; exec ${words.map((word) => `'${word}'`).join(' ')}`
    this.#child = spawn('script', ['-qec', command, '/dev/null'], {
      cwd,
      env: cleanEnv(testUser, { TERM: 'xterm' }),
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.#output += text))
    this.#child.stdin!.on('error', () => undefined) // it has ended
    this.#ended = new Promise((resolve) => this.#child.once('close', (code) => resolve(code)))
  }

  /** Everything that was shown, without control sequences. */
  get screen(): string {
    return this.#output.replaceAll(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r\n', '\n')
  }

  /** Waits until this text is shown after what earlier calls waited for. */
  async until(text: string): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS
    for (;;) {
      const at = this.screen.indexOf(text, this.#read)
      if (at !== -1) {
        this.#read = at + text.length
        return
      }
      if (Date.now() > deadline || this.#child.exitCode !== null)
        throw new Error(`'${text}' was not shown\n${this.screen.slice(this.#read)}`)
      await sleep(20)
    }
  }

  /** Waits for a question and types the answer and Return. */
  async answer(question: string, typed: string): Promise<void> {
    await this.until(question)
    this.type(`${typed}\r`)
  }

  type(keys: string): void {
    this.#child.stdin!.write(keys)
  }

  /** The exit code. */
  end(): Promise<number | null> {
    return this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return
    process.kill(-this.#child.pid, 'SIGKILL')
    await this.#ended
  }
}
