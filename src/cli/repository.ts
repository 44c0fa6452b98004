import type { AnyResolved } from '../config/resolve.ts'
import type { RepositoryDescription } from '../core/repository.ts'
import { parseTimeTarget } from '../core/restore/time-target.ts'
import type { RetryPolicy } from '../storage/object/tries.ts'
import type { StorageDescription } from '../storage/description.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { azureDescription } from './repository-azure.ts'
import { repositoryHost } from './remote-host.ts'
import { gcsDescription } from './repository-gcs.ts'
import { s3Description } from './repository-s3.ts'
import type { Environment, StorageSettings } from './storage-settings.ts'
import { repoId } from '../util/repo-id.ts'

/**
 * Converts resolved options to the description that the engine and its workers open. The layers below read no options.
 */
export function repositoryDescription(
  options: StorageSettings['options'],
  resolved: AnyResolved,
  env: Environment,
): RepositoryDescription {
  const { key, cipherType, cipherPass } = options
  const storage = storageDescription(options, resolved, env)
  if (cipherType !== 'aes-256-cbc' || cipherPass === undefined) return { key, storage }
  const name = `${repoId(key)}-cipher-pass`
  const origin = `${name} (from ${resolved.values.get(name)?.origin ?? ''})`
  return { key, storage, cipher: { type: cipherType, origin, passphrase: textToBytes(cipherPass) } }
}

export function storageDescription(
  options: StorageSettings['options'],
  resolved: AnyResolved,
  env: Environment,
): StorageDescription {
  const {
    values,
    options: { ioTimeout, repoTargetTime, repoKey, lockPath },
  } = resolved
  const name = repoId(options.key)
  const host = repositoryHost(resolved, options.key)
  if (host !== undefined) {
    if (repoTargetTime === undefined) return { kind: 'remote', host }
    throw new PgtsError('option-invalid', `repo-target-time cannot be used with ${name}-host`, {
      hints: [`run this command on host '${host.host}'`],
    })
  }
  if (repoTargetTime !== undefined) {
    const versioned = options.type === 's3' || options.type === 'gcs'
    if (!versioned) throw unversioned(name, options.type ?? '')
    if (repoKey === undefined) throw unnamed()
  }
  const settings: StorageSettings = {
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
  const { path = '', storagePrefetch: ahead = 16, storageReadOver: gapBytes = 64 * 1024 } = options
  const common = { path: textToBytes(path), retry: retryPolicy(settings), reading: { ahead, gapBytes } }
  switch (options.type) {
    case 'azure':
      return { kind: 'azure', ...common, azure: azureDescription(settings) }
    case 'gcs':
      return { kind: 'gcs', ...common, gcs: gcsDescription(settings) }
    case 's3':
      return { kind: 's3', ...common, s3: s3Description(settings) }
    case 'posix':
      return { kind: 'posix', path }
    default:
      throw new PgtsError('assert', `${name}-type=${options.type} passed the check of supported options`)
  }
}

/** Long enough for an outage of some minutes during a backup, short enough to report a permanent one. */
function retryPolicy({ ioTimeoutMs }: StorageSettings): RetryPolicy {
  return { retries: 20, totalMs: 5 * ioTimeoutMs, timeoutMs: ioTimeoutMs }
}

function unversioned(name: string, type: string): PgtsError {
  return new PgtsError('option-invalid', `repo-target-time cannot be used with ${name}-type=${type}`, {
    hints: [
      'use it with s3 or gcs and a bucket with versioning',
      ...(type === 'azure'
        ? ['in Azure, restore versions of the blobs to another container with the tools of Azure']
        : []),
    ],
  })
}

function unnamed(): PgtsError {
  return new PgtsError('option-required', 'repo-target-time requires --repo', {
    hints: ['add --repo=1'],
  })
}
