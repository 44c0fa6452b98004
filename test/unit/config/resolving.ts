import { resolveOptions, type AnyResolved, type ConfigFiles } from '../../../src/config/resolve.ts'
import { isPgtsError, type PgtsError } from '../../../src/util/error.ts'

export interface Surroundings {
  env?: Record<string, string>
  /** Path to text. */
  files?: Record<string, string>
  /** Permission bits of all files. */
  mode?: number
  uid?: number
  /** Path of the program. */
  program?: string
}

export function fakeFiles(files: Record<string, string> = {}, mode = 0o640): ConfigFiles {
  const paths = Object.keys(files)
  return {
    read: (path) => files[path],
    list: (directory) => {
      const inside = paths
        .filter((path) => path.startsWith(`${directory}/`))
        .map((path) => path.slice(directory.length + 1))
      return inside.length === 0 ? undefined : inside
    },
    mode: () => mode,
  }
}

/** Resolves a command line, written as one would type it (words are split at spaces). */
export function resolving(commandLine: string | readonly string[], around: Surroundings = {}): Promise<AnyResolved> {
  const argv = typeof commandLine === 'string' ? commandLine.split(' ').filter((word) => word !== '') : commandLine
  return resolveOptions({
    argv,
    env: around.env ?? {},
    program: around.program ?? '/usr/bin/pgts',
    uid: around.uid ?? 1000,
    cores: 6,
    files: fakeFiles(around.files, around.mode),
  })
}

/** The value of one option, under the name it is written with. */
export async function valueOf(name: string, commandLine: string, around: Surroundings = {}): Promise<unknown> {
  return (await resolving(commandLine, around)).values.get(name)?.value
}

/** The error of a command line; a resolved command fails the test. */
export async function failureOf(
  commandLine: string | readonly string[],
  around: Surroundings = {},
): Promise<PgtsError> {
  const outcome = await resolving(commandLine, around).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!isPgtsError(outcome)) throw new Error(`expected an error, got ${String(outcome)}`)
  return outcome
}

/** `backup --stanza=main` with its required options. */
export const BACKUP = 'backup --stanza=main --pg1-path=/pg'

export function ini(text: string): Surroundings {
  return { files: { '/c/x.conf': text }, env: { PGTS_CONFIG: '/c/x.conf' } }
}

export function yaml(text: string): Surroundings {
  return { files: { '/etc/pgts/pgts.yaml': text } }
}
