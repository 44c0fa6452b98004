import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { asBytes, bytesToLines, type Text } from '../util/byte-string.ts'
import { messageOf, PgtsError } from '../util/error.ts'
import type { Channel } from './channel.ts'

export interface SshTarget {
  /** The option cmd-ssh. */
  readonly program: string
  readonly host: string
  readonly user: string
  readonly port?: number
  /** The program at the other end, as the option repo1-host-cmd or pg1-host-cmd has it. */
  readonly command: string
  /** Its arguments; quoted here for the shell there. */
  readonly args: readonly string[]
  /** Number of the connection; 0 is the main one. */
  readonly process: number
}

/** The bytes of its error output that an error quotes. */
const MOST_STDERR = 4096
/** Time for the exit code of ssh after its output has ended. */
const EXIT_MS = 5000
/** Time between SIGTERM and SIGKILL. */
const KILL_AFTER_MS = 2000

/** Starts ssh and the program at the other end. @throws option-invalid-value for a host or user that is an option of ssh */
export function openSsh(target: SshTarget): Channel {
  const child = spawn(target.program, sshArguments(target), {
    stdio: ['pipe', 'pipe', 'pipe'],
    // In a session of its own ^C does not end it before the cleanup, and it has no terminal to prompt on.
    detached: true,
    env: { ...process.env, SSH_ASKPASS_REQUIRE: 'never' },
  })
  return new SshChannel(child, target)
}

/** The command line of pgBackRest, so that the entries of authorized_keys in its guide admit it. */
export function sshArguments({ host, user, port, command, args }: SshTarget): string[] {
  for (const [what, value] of [
    ['host', host],
    ['user', user],
  ] as const) {
    if (value === '' || value.startsWith('-')) throw new PgtsError('option-invalid-value', `invalid ${what} '${value}'`)
  }
  return [
    ...['-o', 'LogLevel=error', '-o', 'Compression=no', '-o', 'PasswordAuthentication=no'],
    ...(port === undefined ? [] : ['-p', `${port}`]),
    `${user}@${host}`,
    [command, ...args.map(quoted)].join(' '),
  ]
}

/** For any POSIX shell. The program itself is not quoted: the option may contain arguments, as in pgBackRest. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`
}

class SshChannel implements Channel {
  readonly input: Readable
  readonly output: Writable
  readonly display: string
  readonly hint: Text
  readonly closed: Promise<void>
  readonly #child: ChildProcessWithoutNullStreams
  readonly #program: string
  #stderr: Buffer = Buffer.alloc(0)
  #failure: string | undefined
  #isClosed = false

  constructor(child: ChildProcessWithoutNullStreams, { program, host, user, port, command, process }: SshTarget) {
    this.#child = child
    this.#program = program
    this.display = `remote-${process} ssh protocol on '${host}'`
    const at = port === undefined ? '' : ` -p ${port}`
    this.hint = `run this by hand, as the user that runs pgts here: ${program}${at} ${user}@${host} ${command} version`
    this.input = child.stdout
    this.output = child.stdin
    // The end of ssh explains it better.
    for (const stream of [this.input, this.output]) stream.on('error', () => undefined)
    child.stderr.on('error', () => undefined)
    child.stderr.on('data', (bytes: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, bytes]).subarray(-MOST_STDERR)
    })
    child.on('error', (error) => (this.#failure = messageOf(error)))
    this.closed = new Promise((resolve) =>
      child.once('close', () => {
        this.#isClosed = true
        resolve()
      }),
    )
  }

  async explainEnd(): Promise<string | undefined> {
    await this.#exited()
    if (this.#failure !== undefined) return `: cannot run ${this.#program}: ${this.#failure}`
    const { exitCode, signalCode } = this.#child
    const how = exitCode === null ? signalCode : exitCode
    // ssh ends its own lines with CR and LF.
    const text = bytesToLines(asBytes(this.#stderr.toString('latin1').replaceAll('\r\n', '\n'))).trim()
    return `${how === null ? '' : ` [${how}]`}${text === '' ? '' : `: ${text}`}`
  }

  destroy(): void {
    this.input.destroy()
    this.output.destroy()
    this.#child.stderr.destroy()
    if (this.#isClosed || this.#child.pid === undefined) return
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), KILL_AFTER_MS)
    void this.closed.then(() => clearTimeout(timer))
  }

  async #exited(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => (timer = setTimeout(resolve, EXIT_MS)))
    await Promise.race([this.closed, late])
    clearTimeout(timer)
  }
}
