import { asBytes, bytesToText } from '../../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import type { JobEnv } from '../worker-env.ts'
import type { RestoreFile } from './restore-job.ts'

/** The error if the stored file differs from its manifest entry. */
export function mismatch(file: RestoreFile, env: JobEnv, actual: string): PgtsError {
  return new PgtsError(
    'checksum',
    `error restoring '${bytesToText(file.path)}': ${storedAs(file, env)} decodes to ${actual}` +
      `, expected by the manifest ${file.sizeBytes} bytes with SHA-1 ${file.checksum}`,
    { hints: otherSource },
  )
}

/** Adds the names of both files to a read error. An error about the target is returned unchanged. */
export function explain(error: unknown, file: RestoreFile, env: JobEnv): unknown {
  const codes = ['format', 'crypto', 'file-missing', 'file-read', 'file-open', 'path-missing'] as const
  if (!codes.some((code) => isPgtsError(error, code)) || !isPgtsError(error)) return error
  return new PgtsError(
    error.code,
    `unable to restore '${bytesToText(file.path)}' from ${storedAs(file, env)}: ${error.message}`,
    // A missing bucket is not a fault of this backup.
    { hints: [...error.hints, ...(error.code === 'path-missing' ? [] : otherSource)], cause: error },
  )
}

function storedAs(file: RestoreFile, env: JobEnv): string {
  const { repoName = asBytes(''), slice } = file.stored ?? {}
  const at = slice === undefined ? '' : ` at ${slice.offset} (${slice.length} bytes)`
  return `'${env.storage.display}/${bytesToText(repoName)}'${at}`
}

const otherSource = [
  'this copy of the backup is corrupt: restore another set (--set), or from another repository (--repo), with --delta',
]
