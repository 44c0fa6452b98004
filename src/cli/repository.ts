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

/** The options of one repository, and what the environment says beside them. */
export interface RepositoryChoice {
  readonly options: RepositoryOptions
  readonly env: Environment
  readonly ioTimeoutMs: number
  /** How the names of its options begin: `repo1`. */
  readonly name: string
  /** Where the value of `repo1-<rest>` came from; undefined where it is the default. */
  readonly origin: (rest: string) => string | undefined
  /** Absent: the command does not know it. */
  readonly lockPath?: string
  /** repo-target-time, milliseconds since the epoch. */
  readonly atMs?: number
}

/** From resolved options to what the engine opens, here and in its workers. Nothing below reads an option. */
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
      throw new PgtsError('assert', `${name}-type=${options.type} got past the check of what pgts can do`)
  }
}

/** An outage of some minutes should not cost a backup of some hours; one that lasts must end. */
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
