import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { dirname } from 'node:path'
import { decodeText } from '../../util/byte-string.ts'

/** A running postmaster: a process `postgres` whose parent is not one. */
export interface Postmaster {
  readonly pid: number
  /** Arguments of the process; the first is the program. */
  readonly args: readonly string[]
  /** Arguments of the parent: Patroni, for example. */
  readonly parentArgs: readonly string[]
  /** The directory of the program; undefined if this user may not see it. */
  readonly binDirectory?: string
  /** Its working directory, which is the data directory; undefined if this user may not see it. */
  readonly workingDirectory?: string
  /** Of its standard error, if that is a file: what it logs without a logging collector. */
  readonly logFile?: string
  /** The systemd service that it belongs to. */
  readonly service?: string
}

const NAMES = new Set(['postgres', 'postmaster'])

/** Every postmaster on this host that this user can see. Linux only: elsewhere the list is empty. */
export function runningPostmasters(proc = '/proc'): Postmaster[] {
  const pids = namesIn(proc).filter((name) => /^\d+$/.test(name))
  const servers = pids.filter((pid) => NAMES.has(textOf(`${proc}/${pid}/comm`).trim()))
  const all = new Set(servers)
  return servers.flatMap((pid) => {
    const parent = parentOf(textOf(`${proc}/${pid}/stat`))
    if (all.has(parent) || isElsewhere(`${proc}/${pid}`)) return []
    return [describe(proc, pid, parent)]
  })
}

function describe(proc: string, pid: string, parent: string): Postmaster {
  const executable = linkOf(`${proc}/${pid}/exe`)
  const log = linkOf(`${proc}/${pid}/fd/2`)
  return {
    pid: Number(pid),
    args: argumentsOf(`${proc}/${pid}`),
    parentArgs: argumentsOf(`${proc}/${parent}`),
    binDirectory: executable === undefined ? undefined : dirname(executable),
    workingDirectory: linkOf(`${proc}/${pid}/cwd`),
    logFile: log !== undefined && log.startsWith('/') && !log.startsWith('/dev/') ? log : undefined,
    service: /\/([^/\n]+\.service)$/m.exec(textOf(`${proc}/${pid}/cgroup`))?.[1],
  }
}

/** True for a process of a container: its paths are those of another root directory. */
function isElsewhere(process: string): boolean {
  const root = linkOf(`${process}/root`)
  return root !== undefined && root !== (linkOf('/proc/self/root') ?? '/')
}

/** The fourth field of `stat`; the second, the name, can contain blanks and brackets. */
function parentOf(stat: string): string {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] ?? ''
}

function argumentsOf(process: string): string[] {
  return textOf(`${process}/cmdline`)
    .split('\0')
    .filter((word) => word !== '')
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** '' if the process has ended, or the file belongs to another user. */
function textOf(path: string): string {
  try {
    return decodeText(readFileSync(path))
  } catch {
    return ''
  }
}

function linkOf(path: string): string | undefined {
  try {
    return decodeText(readlinkSync(path, 'buffer'))
  } catch {
    return undefined
  }
}
