import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { nativeFunction } from '../../src/util/native.ts'
import { childrenOf } from '../../test/support/processes/processes.ts'

/** Ticks of a second in /proc/PID/stat; the same on all Linux platforms of Node. */
const TICKS = 100
const PR_SET_CHILD_SUBREAPER = 36
const prctl = nativeFunction(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
)

interface Found {
  readonly parent: number
  /** Differs between two processes with the same number. */
  readonly startedTicks: number
  /** CPU ticks of the process, and of the children that it waited for. */
  readonly own: number
  readonly waited: number
}

export interface TreeCpuOptions {
  /** Processes that are not counted, with their children: the server. */
  readonly except: readonly number[]
  /** Servers that do not wait for their children (SA_NOCLDWAIT), so that the kernel adds their time to no process. */
  readonly unwaited?: readonly number[]
}

const SAMPLE_MS = 5

/**
 * CPU time of everything that this process has started: commands, sshd and its sessions, servers, and what these
 * start. A process that has lost its parent becomes a child of this one, alive or as a zombie, so no time is lost with it.
 */
export class TreeCpu implements Disposable {
  readonly #options: TreeCpuOptions
  readonly #timer: NodeJS.Timeout
  /** The last known ticks of children of `unwaited`. At most the last SAMPLE_MS of each are missing. */
  readonly #sampled = new Map<string, number>()

  constructor(options: TreeCpuOptions) {
    if (prctl().call(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) !== 0) throw new Error('prctl(PR_SET_CHILD_SUBREAPER) failed')
    this.#options = options
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS)
  }

  /** CPU seconds up to now. Waits until the processes of the last command have ended or are idle. */
  async seconds(): Promise<number> {
    for (let before = this.#ticks(); ;) {
      await sleep(400)
      const now = this.#ticks()
      if (now === before) return now / TICKS
      before = now
    }
  }

  #ticks(): number {
    const all = processes()
    const children = new Map<number, number[]>()
    for (const [pid, { parent }] of all) children.set(parent, [...(children.get(parent) ?? []), pid])
    this.#sample()
    let sum = all.get(process.pid)!.waited
    const unwaited = new Set(this.#options.unwaited)
    const pending = [...(children.get(process.pid) ?? [])]
    for (let pid = pending.pop(); pid !== undefined; pid = pending.pop()) {
      if (this.#options.except.includes(pid)) continue
      const { own, waited } = all.get(pid)!
      sum += own + waited
      if (!unwaited.has(pid)) pending.push(...(children.get(pid) ?? []))
    }
    for (const ticks of this.#sampled.values()) sum += ticks
    return sum
  }

  #sample(): void {
    for (const server of this.#options.unwaited ?? []) {
      for (const pid of childrenOf(server)) {
        const found = read(pid)
        if (found?.parent === server) this.#sampled.set(`${pid} ${found.startedTicks}`, found.own + found.waited)
      }
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

function processes(): Map<number, Found> {
  const found = new Map<number, Found>()
  for (const name of readdirSync('/proc')) {
    const one = /^\d+$/.test(name) ? read(Number(name)) : undefined
    if (one !== undefined) found.set(Number(name), one)
  }
  return found
}

/** undefined: it has ended, and its parent has waited for it. */
function read(pid: number): Found | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const field = (at: number) => Number(fields[at])
    return { parent: field(1), startedTicks: field(19), own: field(11) + field(12), waited: field(13) + field(14) }
  } catch {
    return undefined
  }
}
