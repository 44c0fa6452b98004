import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { giveToTestUser, makeTestDir, pgtsProgram, runAs, testUser, type RunResult } from '../processes/test-user.ts'

/** pgts as a client of pgbackrest finds it: in PATH under that name, with an empty HOME, in a directory of its own. */
export class Client {
  /** The directory with the program; also the working directory. */
  readonly bin = makeTestDir('client')

  /** @param env variables that the client sets for every call */
  constructor(readonly env: Readonly<Record<string, string>> = {}) {
    symlinkSync(pgtsProgram(), join(this.bin, 'pgbackrest'))
  }

  run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<RunResult> {
    return runAs(testUser, join(this.bin, 'pgbackrest'), args, this.#options(env))
  }

  /** Expects exit code 0, and nothing on stderr. */
  async ok(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, env)
    expect({ code, stderr }, `${args.join(' ')}\n${stdout}${stderr}`).toEqual({ code: 0, stderr: '' })
    return stdout
  }

  /** A command of the client for its shell, with `pgbackrest` in PATH. */
  sh(script: string, { shell = ['bash', '--norc', '-ceu'], env = {} }: ShellOptions = {}): Promise<RunResult> {
    const [program = 'bash', ...options] = shell
    return runAs(testUser, program, [...options, `PATH=${this.bin}:$PATH\n${script}`], this.#options(env))
  }

  /** A script with this call and the variables of the client, for archive_command: `pgbackrest ARGS "$@"`. */
  script(name: string, args: readonly string[]): string {
    const path = join(this.bin, name)
    const exports = Object.entries(this.env).map(([variable, value]) => `export ${variable}='${value}'`)
    const call = ['pgbackrest', ...args].map((word) => `'${word}'`).join(' ')
    const lines = ['#!/bin/sh', 'cd /', ...exports, `PATH=${this.bin}:$PATH`, `exec ${call} "$@"`]
    writeFileSync(path, `${lines.join('\n')}\n`)
    chmodSync(path, 0o700)
    giveToTestUser(path)
    return path
  }

  /** A new directory below that of the client. */
  directory(name: string): string {
    const path = join(this.bin, name)
    mkdirSync(path, { recursive: true, mode: 0o700 })
    giveToTestUser(path)
    return path
  }

  #options(env: Readonly<Record<string, string>>) {
    return { cwd: this.bin, env: { HOME: '', ...this.env, ...env }, deadlineMs: 120_000 }
  }
}

interface ShellOptions {
  /** Program and options before the script. */
  readonly shell?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Variables that Kubernetes sets for a service with a name that begins with `pgbackrest`. */
export const SERVICE_VARIABLES = {
  PGBACKREST_SERVICE_HOST: '10.96.0.1',
  PGBACKREST_SERVICE_PORT: '8432',
  PGBACKREST_SERVICE_PORT_TLS: '8432',
  PGBACKREST_PORT: 'tcp://10.96.0.1:8432',
  PGBACKREST_PORT_8432_TCP: 'tcp://10.96.0.1:8432',
  PGBACKREST_REPO1_SERVICE_HOST: '10.96.0.2',
  PGBACKREST_REPO1_PORT_8432_TCP_ADDR: '10.96.0.2',
}

/** A member of the JSON of `info`, as far as clients read it. */
export interface InfoStanza {
  readonly name: string
  readonly cipher: string
  readonly status: {
    readonly code: number
    readonly message: string
    readonly lock: { readonly backup: { readonly held: boolean }; readonly restore: { readonly held: boolean } }
  }
  readonly db: readonly { readonly id: number; readonly version: string; readonly 'repo-key': number }[]
  readonly repo: readonly {
    readonly key: number
    readonly status: { readonly code: number; readonly message: string }
  }[]
  readonly archive: readonly { readonly id: string; readonly min: string; readonly max: string }[]
  readonly backup: readonly InfoBackup[]
}

export interface InfoBackup {
  readonly label: string
  readonly type: string
  readonly prior: string | null
  readonly reference: readonly string[] | null
  readonly error: boolean
  readonly annotation?: Readonly<Record<string, string>>
  readonly archive: { readonly start: string; readonly stop: string }
  readonly backrest: { readonly format: number; readonly version: string }
  readonly database: { readonly id: number; readonly 'repo-key': number }
  readonly info: { readonly delta: number; readonly size: number; readonly repository: { readonly delta: number } }
  readonly lsn?: { readonly start: string; readonly stop: string }
  readonly timestamp: { readonly start: number; readonly stop: number }
}

/** The output of `info --output=json`. */
export function infoOf(text: string): readonly InfoStanza[] {
  return JSON.parse(text) as readonly InfoStanza[]
}

/** A line of the log, as the OTel collector of PGO parses it. */
export const LOG_LINE = /^(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}) (P\d{2,3})\s*(\S*): (.*)/
