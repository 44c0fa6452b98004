import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** A server program that runs until it is stopped; its output is written to a file. */
export class Daemon implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<void>
  #running = true

  constructor(
    readonly name: string,
    command: string,
    args: readonly string[],
    readonly logFile: string,
    env: NodeJS.ProcessEnv = process.env,
  ) {
    const log = openSync(logFile, 'a')
    // A session of its own, so that ^C at the tests does not reach it before the tests have ended.
    // It ends with this process, however that ends.
    const mortal = ['--pdeathsig', 'KILL', command, ...args]
    this.#child = spawn('setpriv', mortal, { stdio: ['ignore', log, log], detached: true, env })
    closeSync(log)
    this.#ended = new Promise((resolve) => {
      const ended = () => {
        this.#running = false
        resolve()
      }
      this.#child.once('exit', ended)
      this.#child.once('error', ended)
    })
  }

  get running(): boolean {
    return this.#running
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} was not started`)
    return this.#child.pid
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal)
  }

  /** Wait until `ready` is true. A daemon that ends before is an error that shows its output. */
  async until(ready: () => Promise<boolean> | boolean, deadlineMs = 120_000): Promise<void> {
    const deadline = Date.now() + deadlineMs
    while (!(await ready())) {
      if (!this.#running) throw new Error(`${this.name} ended\n${this.log()}`)
      if (Date.now() > deadline) throw new Error(`${this.name} was not ready in ${deadlineMs} ms\n${this.log()}`)
      await sleep(50)
    }
  }

  /** The last lines of its output. */
  log(): string {
    return readFileSync(this.logFile, 'utf8').split('\n').slice(-30).join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#running) return
    // A stopped process reacts to no other signal.
    this.#child.kill('SIGCONT')
    this.#child.kill('SIGTERM')
    const timedOut = await Promise.race([this.#ended.then(() => false), sleep(10_000, true, { ref: false })])
    if (timedOut) this.#child.kill('SIGKILL')
    await this.#ended
  }
}
