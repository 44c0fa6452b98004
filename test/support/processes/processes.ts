import { readdirSync, readFileSync } from 'node:fs'

export interface FoundProcess {
  readonly pid: number
  readonly parent: number
  readonly args: readonly string[]
}

/** Every process of the machine that has arguments, except those that end during the listing. */
export function allProcesses(): FoundProcess[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name)) return []
    const parent = processOf(name)?.parent
    const args = argumentsOf(Number(name))
    return parent === undefined || args.length === 0 ? [] : [{ pid: Number(name), parent, args }]
  })
}

/** Parent and state of a process; undefined when it has ended. */
export function processOf(pid: number | string): { readonly state: string; readonly parent: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state = '', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state, parent: Number(parent) }
  } catch {
    return undefined
  }
}

/** Empty if it has ended. */
export function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
  } catch {
    return []
  }
}

/** Of the first thread of a process; much faster than reading all processes. */
export function childrenOf(parent: number): number[] {
  try {
    const text = readFileSync(`/proc/${parent}/task/${parent}/children`, 'latin1').trim()
    return text === '' ? [] : text.split(' ').map(Number)
  } catch {
    return []
  }
}

/** Children of a process, their children and so on. */
export function descendantsOf(root: number): FoundProcess[] {
  const all = allProcesses()
  const found: FoundProcess[] = []
  for (let parents = new Set([root]); parents.size > 0;) {
    const next = all.filter(({ parent }) => parents.has(parent))
    found.push(...next)
    parents = new Set(next.map(({ pid }) => pid))
  }
  return found
}

/** Send a signal; false when the process has ended. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name)
  } catch {
    return false
  }
}

export function isGone(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return false
  } catch {
    return true
  }
}

/** Has SIGSTOP reached its first thread? */
export function isStopped(pid: number): boolean {
  return processOf(pid)?.state === 'T'
}
