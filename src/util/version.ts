import type { ProgramName } from './program-name.ts'

/** Replaced by the build with the version of package.json; tests of the source see `0.0.0-source`. */
declare const PGTS_VERSION: string | undefined
/** Replaced by the build with a hash of all sources. */
declare const PGTS_BUILD: string | undefined

/** True in the bundle in dist/. */
export const isBuilt = typeof PGTS_VERSION === 'string'

export const pgtsVersion: string = typeof PGTS_VERSION === 'string' ? PGTS_VERSION : '0.0.0-source'

/** Two builds with the same id have the same messages between threads. Undefined in the source. */
export const buildId: string | undefined = typeof PGTS_BUILD === 'string' ? PGTS_BUILD : undefined

/** The release of pgBackRest whose commands, options and output pgts implements. */
export const PGBACKREST_LEVEL = '2.60.0'

/**
 * `backrest-version` in all files that pgts writes. No pgBackRest release has it, so neither program resumes a backup
 * of the other.
 */
export const writerVersion = `pgts ${pgtsVersion}`

/** `pgts 1.2.3` with its newline, or for scripts 1002003 and nothing else; as pgbackrest, the level that pgts implements. */
export function versionText(output: 'text' | 'num', name: ProgramName, own = pgtsVersion): string {
  const [title, version] = name === 'pgbackrest' ? ['pgBackRest', PGBACKREST_LEVEL] : ['pgts', own]
  if (output === 'text') return `${title} ${version}\n`
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number)
  return String(major * 1_000_000 + minor * 1000 + patch)
}
