import type { HostDescription } from '../remote/host.ts'
import type { PartReading } from './driver.ts'
import type { AzureDescription } from './azure/description.ts'
import type { GcsDescription } from './gcs/description.ts'
import type { RetryPolicy } from './object/tries.ts'
import type { S3Description } from './s3/description.ts'
import type { ByteString } from '../util/byte-string.ts'

/** A storage as plain data, so that a worker thread can open its own. May contain credentials: never print it. */
export type StorageDescription =
  | { readonly kind: 'posix'; readonly path: string }
  | { readonly kind: 'memory'; readonly id: string }
  | { readonly kind: 'remote'; readonly host: HostDescription }
  /** Only another thread has it open, and serves it through a port. */
  | { readonly kind: 'port' }
  | ObjectStoreDescription

/**
 * A repository in an object store: how to reach it, the repository's path in it (byte string), how long to retry, how
 * parts of files are read.
 */
export type ObjectStoreDescription = {
  readonly path: ByteString
  readonly retry: RetryPolicy
  readonly reading?: PartReading
} & (
  | { readonly kind: 'azure'; readonly azure: AzureDescription }
  | { readonly kind: 'gcs'; readonly gcs: GcsDescription }
  | { readonly kind: 's3'; readonly s3: S3Description }
)
