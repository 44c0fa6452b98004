import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { childrenOf, signal } from './processes.ts'
import { testUser } from './test-user.ts'

export interface ContainerOptions {
  /** Root directory; default that of this machine. */
  readonly root?: string
  /** User and group; default the test user. */
  readonly user?: { readonly uid: number; readonly gid: number }
  /** Directories that stay writable: path in the root, which must exist, and directory of this machine. */
  readonly volumes?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
}

export interface ContainerRun {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * A program as a container runtime runs it with a read-only root file system and without capabilities: process 1 of its own
 * process namespace, as an unprivileged user. It requires root, and no container engine.
 */
export class Container implements AsyncDisposable {
  readonly ended: Promise<ContainerRun>
  /** Until now. */
  readonly output = { stdout: '', stderr: '' }
  readonly #pid: number

  constructor(argv: readonly string[], options: ContainerOptions = {}) {
    const { root = '/', user = testUser, volumes = {}, env = {} } = options
    const inside = (path: string) => (root === '/' ? path : `${root}${path}`)
    const script = [
      'mount --make-rprivate /',
      ...(root === '/' ? [] : [`mount --bind '${root}' '${root}'`]),
      ...Object.entries(volumes).map(([path, directory]) => `mount --bind '${directory}' '${inside(path)}'`),
      `mount -o remount,bind,ro '${root}'`,
      // In a test run, temporary files can have a file system of their own.
      `if mountpoint -q '${tmpdir()}'; then mount -o remount,bind,ro '${tmpdir()}'; fi`,
      `mount -t proc proc '${inside('/proc')}'`,
      `mount -t tmpfs -o mode=1777 tmpfs '${inside('/dev/shm')}'`,
      `exec chroot '${root}' env -i PATH=/usr/local/bin:/usr/bin:/bin "$@"`,
    ].join('\n')
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`)
    const drop = ['setpriv', `--reuid=${user.uid}`, `--regid=${user.gid}`, '--clear-groups']
    const limits = ['--no-new-privs', '--bounding-set=-all']
    const args = ['--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec', script, 'sh', ...variables]
    const child = spawn('unshare', [...args, ...drop, ...limits, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#pid = child.pid!
    const { output } = this
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()))
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, ...output }))
    })
  }

  /** Send a signal to process 1, as a container runtime does. */
  signal(name: NodeJS.Signals): void {
    for (const pid of childrenOf(this.#pid)) signal(pid, name)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal('SIGKILL')
    await this.ended
  }
}

/** Run a program to its end in such a container. */
export function contained(argv: readonly string[], options: ContainerOptions = {}): Promise<ContainerRun> {
  return new Container(argv, options).ended
}
