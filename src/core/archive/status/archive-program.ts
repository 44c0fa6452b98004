import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { decodeText, textPath } from '../../../util/byte-string.ts'
import { isExecutable } from '../../../util/is-executable.ts'

/** How PostgreSQL calls pgts: by its path, because the PATH of a server is short. */
export interface Caller {
  /** Absolute path of pgts. */
  readonly program: string
  readonly stanza: string
}

/** A line of postgresql.conf, for hints. */
export function archiveCommandLine({ program, stanza }: Caller): string {
  return `archive_command = '${program} --stanza=${stanza} archive-push %p'`
}

export function restoreCommandLine({ program, stanza }: Caller): string {
  return `restore_command = '${program} --stanza=${stanza} archive-get %f "%p"'`
}

/** Environment of the server process, which archive_command inherits. */
export type ServerEnvironment = ReadonlyMap<string, string>

/** The environment of a process of the same user; undefined when it cannot be read. */
export function readServerEnvironment(pid: number): ServerEnvironment | undefined {
  try {
    const entries = decodeText(readFileSync(`/proc/${pid}/environ`)).split('\0')
    return new Map(entries.map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]))
  } catch {
    return undefined
  }
}

/**
 * Reasons why a shell cannot start the program of an archive_command; each continues a sentence that begins with
 * `archive_command`. PostgreSQL does not count such calls as failures: the shell exits with 126 or 127, the archiver exits,
 * and pg_stat_archiver does not change.
 *
 * @param server absent: names without a path are not looked up
 */
export function programProblems(command: string, dataDirectory: string, server?: ServerEnvironment): string[] {
  const words = wordsOfCommand(command)
  const own = new Map(words.filter(({ assigns }) => assigns).map(({ text }) => splitAt(text, '=')))
  const first = words.find(({ assigns }) => !assigns)
  const programs = words.filter(
    (word) => !word.assigns && (word === first ? word.text.includes('/') || isOurs(word.text) : isOurs(word.text)),
  )
  const path = own.get('PATH') ?? server?.get('PATH')
  // The shell replaces variables in the value (`PATH=/x:$PATH`).
  const search = path === undefined || path.includes('$') ? undefined : path
  const node = own.get('PGTS_NODE') ?? server?.get('PGTS_NODE') ?? ''
  return programs.flatMap(({ text }) => problemOf(text, { dataDirectory, search, node }))
}

interface Lookup {
  readonly dataDirectory: string
  readonly search: string | undefined
  /** PGTS_NODE. */
  readonly node: string
}

function problemOf(program: string, lookup: Lookup): string[] {
  const { dataDirectory, search } = lookup
  if (program.includes('/')) {
    const path = program.startsWith('/') ? program : `${dataDirectory}/${program}`
    if (!existsSync(textPath(path))) return [`starts ${path}, which does not exist on this host`]
    if (!isExecutable(path)) return [`starts ${path}, which this user may not execute`]
    return nodeProblem(path, lookup)
  }
  if (search === undefined) return []
  const found = findIn(search, program)
  if (found !== undefined) return nodeProblem(found, lookup)
  return [`starts ${program}, which is in no directory of the server's PATH (${search}): write its absolute path`]
}

/** bin/pgts starts Node from PGTS_NODE, else the one beside itself, else from the PATH. */
function nodeProblem(program: string, { search, node }: Lookup): string[] {
  const directory = launcherDirectory(program)
  if (directory === undefined) return []
  if (node !== '') {
    if (isExecutable(node)) return []
    return [`starts ${program} with PGTS_NODE=${node}, which this user cannot execute`]
  }
  if (isExecutable(`${directory}/node`)) return []
  if (search === undefined || findIn(search, 'node') !== undefined) return []
  return [
    `starts ${program}, and node is in no directory of the server's PATH (${search}): write PGTS_NODE=/path/to/node in front of it`,
  ]
}

/** Directory of `bin/pgts` of an installation, if this path leads there. */
function launcherDirectory(program: string): string | undefined {
  try {
    const path = decodeText(realpathSync.native(textPath(program), { encoding: 'buffer' }))
    const directory = dirname(path)
    return existsSync(textPath(`${dirname(directory)}/dist/cli/main.cjs`)) ? directory : undefined
  } catch {
    return undefined
  }
}

function findIn(search: string, program: string): string | undefined {
  return search
    .split(':')
    .map((directory) => `${directory === '' ? '.' : directory}/${program}`)
    .find(isExecutable)
}

function isOurs(word: string): boolean {
  return /(?:^|\/)(?:pgts|pgbackrest)$/.test(word)
}

/** A word of a shell command. */
export interface Word {
  readonly text: string
  /** `NAME=value` in front of the program. */
  readonly assigns: boolean
}

/** Words of a shell command, up to a comment. Quotes are removed, nothing is expanded. */
export function wordsOfCommand(command: string): Word[] {
  const words: Word[] = []
  let leading = true
  for (const [word] of command.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\;&|()<>])+|[;&|()]/g)) {
    if (word.startsWith('#')) break
    if (/^[;&|()]$/.test(word)) {
      leading = true
      continue
    }
    const assigns: boolean = leading && /^[A-Za-z_]\w*=/.test(word)
    leading = assigns
    words.push({ text: word.replace(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g, unquoted), assigns })
  }
  return words
}

function unquoted(_: string, single?: string, double?: string, escaped?: string): string {
  return single ?? double?.replace(/\\([\\"$`])/g, '$1') ?? escaped ?? ''
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator)
  return [text.slice(0, at), text.slice(at + 1)]
}
