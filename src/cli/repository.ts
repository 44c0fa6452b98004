import type { AnyResolved } from '../config/resolve.ts'
import { parseTimeTarget } from '../core/restore/time-target.ts'
import type { RetryPolicy } from '../storage/object/tries.ts'
import type { StorageDescription } from '../storage/driver.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { azureDescription } from './repository-azure.ts'
import { gcsDescription } from './repository-gcs.ts'
import { s3Description } from './repository-s3.ts'

export type Environment = Readonly<Record<string, string | undefined>>
export type RepositoryOptions = AnyResolved['options']['repo'][number]

/** The options of one repository, and the environment. */
export interface RepositoryChoice {
  readonly options: RepositoryOptions
  readonly env: Environment
  readonly ioTimeoutMs: number
  /** Prefix of its option names: `repo1`. */
  readonly name: string
  /** Origin of the value of `repo1-<rest>`; undefined if it is the default. */
  readonly origin: (rest: string) => string | undefined
  /** Absent: the command has no such option. */
  readonly lockPath?: string
  /** repo-target-time, milliseconds since the epoch. */
  readonly atMs?: number
}

/** From resolved options to the description that the engine and its workers open. The layers below read no options. */
export function storageDescription(
  options: RepositoryOptions,
  { values, options: { ioTimeout, repoTargetTime, repoKey, lockPath } }: AnyResolved,
  env: Environment,
): StorageDescription {
  const name = `repo${options.key}`
  if (repoTargetTime !== undefined) {
    const versioned = options.type === 's3' || options.type === 'gcs'
    if (!versioned) throw unversioned(name, options.type ?? '')
    if (repoKey === undefined) throw unnamed()
  }
  const choice: RepositoryChoice = {
    options,
    env,
    ioTimeoutMs: ioTimeout ?? 60_000,
    name,
    origin: (rest) => {
      const value = values.get(`${name}-${rest}`)
      return value === undefined || value.source === 'default' ? undefined : value.origin
    },
    lockPath,
    atMs: repoTargetTime === undefined ? undefined : parseTimeTarget(repoTargetTime).seconds * 1000,
  }
  const path = options.path ?? ''
  switch (options.type) {
    case 'azure':
      return { kind: 'azure', path: textToBytes(path), retry: retryPolicy(choice), azure: azureDescription(choice) }
    case 'gcs':
      return { kind: 'gcs', path: textToBytes(path), retry: retryPolicy(choice), gcs: gcsDescription(choice) }
    case 's3':
      return { kind: 's3', path: textToBytes(path), retry: retryPolicy(choice), s3: s3Description(choice) }
    case 'posix':
      return { kind: 'posix', path }
    default:
      throw new PgtsError('assert', `${name}-type=${options.type} passed the check of supported options`)
  }
}

/** Long enough for an outage of some minutes during a backup, short enough to report a permanent one. */
function retryPolicy({ ioTimeoutMs }: RetryChoice): RetryPolicy {
  return { retries: 20, totalMs: 5 * ioTimeoutMs, timeoutMs: ioTimeoutMs }
}

type RetryChoice = Pick<RepositoryChoice, 'ioTimeoutMs'>

export function invalid(choice: RepositoryChoice, rest: string, why: string, ...hints: string[]): PgtsError {
  const origin = choice.origin(rest)
  const from = origin === undefined ? '' : ` (from ${origin})`
  return new PgtsError('option-invalid-value', `${choice.name}-${rest}${from} ${why}`, { hints })
}

function unversioned(name: string, type: string): PgtsError {
  return new PgtsError('option-invalid', `repo-target-time cannot be used with ${name}-type=${type}`, {
    hints: [
      'a repository can be read as it was in s3 and gcs, where versioning of the bucket is on',
      ...(type === 'azure'
        ? ['in Azure, bring versions of blobs back with the tools of Azure, to another container']
        : []),
    ],
  })
}

function unnamed(): PgtsError {
  return new PgtsError('option-required', 'repo-target-time needs to know which repository is meant', {
    hints: ['add --repo=1'],
  })
}
