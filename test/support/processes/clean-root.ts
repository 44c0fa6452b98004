import { spawn, spawnSync } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { allProcesses, signal } from './processes.ts'
import { isInstalled, makeTestDir, projectRoot } from './test-user.ts'

export interface Ran {
  readonly code: number | null
  readonly text: string
}

/** Run a program of this machine; an exit code other than 0 is an error that shows the output. */
export function execute(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: projectRoot, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`)
  return stdout
}

/** A Debian without Node, npm and compiler, made by debootstrap in a directory. It takes a minute, the network and root. */
export class CleanRoot {
  readonly path = join(makeTestDir('root'), 'debian')

  constructor(readonly packages = 'adduser,xz-utils') {
    if (!isInstalled('debootstrap')) throw new Error('debootstrap is not installed')
    execute('debootstrap', '--variant=minbase', `--include=${packages}`, 'bookworm', this.path)
    execute('mount', '-t', 'proc', 'proc', join(this.path, 'proc'))
    execute('mount', '--bind', '/dev', join(this.path, 'dev'))
  }

  /** Start a shell script in the root, as root or as another user, with an empty environment. */
  start(script: string, user = 'root'): { done: Promise<Ran> } {
    const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
    const environment = ['/usr/bin/env', '-i', `PATH=${path}`, 'HOME=/tmp', 'DEBIAN_FRONTEND=noninteractive']
    const shell = user === 'root' ? ['sh', '-ec'] : ['su', '-s', '/bin/sh', user, '-c']
    const child = spawn('chroot', [this.path, ...environment, ...shell, `set -e; cd /tmp; ${script}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
    return { done: new Promise((resolve) => child.on('close', (code) => resolve({ code, text }))) }
  }

  /** As `start()`, to its end; an exit code other than 0 is an error that shows the output. */
  async run(script: string, user = 'root'): Promise<string> {
    const { code, text } = await this.start(script, user).done
    if (code !== 0) throw new Error(`${script}\nended with ${code}:\n${text}`)
    return text
  }

  [Symbol.dispose](): void {
    for (const { pid } of allProcesses()) if (this.#isInside(pid)) signal(pid, 'SIGKILL')
    for (const name of ['proc', 'dev']) spawnSync('umount', ['-l', join(this.path, name)])
  }

  /** A process of this root, not one of another system that runs the same program. */
  #isInside(pid: number): boolean {
    try {
      return readlinkSync(`/proc/${pid}/root`) === this.path
    } catch {
      return false
    }
  }
}
