/** Replaced by the build with the version of package.json; tests that import the source see `0.0.0-source`. */
declare const PGTS_VERSION: string | undefined

/** Is this the bundle in dist/? */
export const isBuilt = typeof PGTS_VERSION === 'string'

export const pgtsVersion: string = typeof PGTS_VERSION === 'string' ? PGTS_VERSION : '0.0.0-source'

/** `backrest-version` in everything pgts writes: no pgBackRest release has it, so neither resumes the other's work. */
export const writerVersion = `pgts ${pgtsVersion}`
