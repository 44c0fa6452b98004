import { spawn } from 'node:child_process'
import { userInfo } from 'node:os'
import { bytesToText } from '../../util/byte-string.ts'
import { EXIT_CODES, PgtsError, type ErrorCode } from '../../util/error.ts'
import { isExecutable } from '../../util/is-executable.ts'
import { localOwnerNames } from '../../util/owner-names.ts'

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace NodeJS {
    interface Process {
      /** Missing in the types of Node 20. */
      initgroups?(user: string | number, extraGroup: string | number): void
    }
  }
}

/** The user that the server runs as: pgts runs as this user, too. */
export interface Owner {
  readonly uid: number
  readonly gid: number
  readonly name: string
}

export function ownerOf({ uid, gid }: { readonly uid: number; readonly gid: number }): Owner {
  const name = localOwnerNames().user(uid)
  return { uid, gid, name: name === false ? String(uid) : bytesToText(name) }
}

/** [031] unless this process is root or the owner. */
export function requireOwnerOrRoot(owner: Owner, dataDirectory: string): void {
  const uid = process.geteuid?.()
  if (uid === 0 || uid === owner.uid) return
  throw new PgtsError(
    'option-invalid',
    `${dataDirectory} belongs to ${owner.name}, and init does not run as that user`,
    {
      hints: ['run it as root: sudo pgts init', `or as that user: sudo -u ${owner.name} pgts init`],
    },
  )
}

/**
 * Runs `work` with the effective user and group of the owner: a server admits its owner (peer authentication), and root
 * reads no file that the owner may not read. Nothing else may run in this process at that time.
 */
export async function asOwner<T>(owner: Owner, work: (home: string) => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0 || owner.uid === 0) return work(userInfo().homedir)
  const groups = process.getgroups?.() ?? []
  process.initgroups!(owner.uid, owner.gid)
  process.setegid!(owner.gid)
  process.seteuid!(owner.uid)
  try {
    return await work(homeOf())
  } finally {
    process.seteuid!(0)
    process.setegid!(0)
    process.setgroups!(groups)
  }
}

/** '/' for a user that /etc/passwd does not list. */
function homeOf(): string {
  try {
    return userInfo().homedir
  } catch {
    return '/'
  }
}

export interface ChildOptions {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  /** `report`: standard output is left to the report of init, so the child writes to standard error. */
  readonly output: 'terminal' | 'report' | 'captured'
}

export interface Ended {
  readonly code: number
  /** Standard output, if it was captured. */
  readonly stdout: string
}

const RUNUSER = ['/usr/sbin/runuser', '/sbin/runuser', '/usr/bin/runuser']

/**
 * Runs a program as the owner. As root by runuser, which sets all groups of the user; without it the process has the
 *main group only. */
export async function runAsOwner(owner: Owner, words: readonly string[], options: ChildOptions): Promise<Ended> {
  const home = await asOwner(owner, async (directory) => directory)
  const env = { ...options.env, HOME: home, USER: owner.name, LOGNAME: owner.name }
  if (process.geteuid?.() !== 0 || owner.uid === 0) return run(words, { ...options, env: options.env })
  const runuser = RUNUSER.find(isExecutable)
  if (runuser === undefined || owner.name === String(owner.uid))
    return run(words, { ...options, env, uid: owner.uid, gid: owner.gid })
  return run([runuser, '-u', owner.name, '--', ...words], { ...options, env })
}

/** Runs a program as the user of this process. Standard error of a captured one is not shown. */
export function run(
  [command = '', ...args]: readonly string[],
  { env, signal, output, uid, gid }: ChildOptions & { readonly uid?: number; readonly gid?: number },
): Promise<Ended> {
  const stdout = output === 'terminal' ? 'inherit' : output === 'report' ? 2 : 'pipe'
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: '/',
      env: { ...env },
      stdio: ['ignore', stdout, output === 'captured' ? 'ignore' : 'inherit'],
      ...(uid === undefined ? {} : { uid, gid }),
    })
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (piece: string) => (text += piece))
    // The terminal sends ^C to the child, too; a signal to init alone is passed on, and the child ends in its own way.
    const forward = () => void child.kill('SIGTERM')
    signal.addEventListener('abort', forward, { once: true })
    child.once('error', (cause) => {
      signal.removeEventListener('abort', forward)
      reject(new PgtsError('execute', `cannot run ${command}: ${cause.message}`, { cause }))
    })
    child.once('close', (code) => {
      signal.removeEventListener('abort', forward)
      if (signal.aborted) reject(signal.reason as Error)
      else resolve({ code: code ?? EXIT_CODES.term, stdout: text })
    })
  })
}

/** The code of an error whose exit code is this one. */
export function codeOf(exitCode: number): ErrorCode {
  const names = Object.keys(EXIT_CODES) as ErrorCode[]
  return names.find((name) => EXIT_CODES[name] === exitCode) ?? 'execute'
}

/** Is this program in the PATH, or is it a path that exists? */
export function hasProgram(name: string, path: string | undefined): boolean {
  if (name.includes('/')) return isExecutable(name)
  return (path ?? '/usr/sbin:/usr/bin:/sbin:/bin').split(':').some((directory) => isExecutable(`${directory}/${name}`))
}
