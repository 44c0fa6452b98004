import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { PgtsError } from '../../../util/error.ts'
import { RetryableStoreError } from '../../object/retryable-error.ts'

/**
 * Credentials for AWS's client: the values, or a function that fetches them. Concurrent requests share one fetch, which
 * is repeated before they expire.
 */
export type Credentials = NonNullable<S3ClientConfig['credentials']>

/** Credentials of the service; temporary ones have a token and an expiry. */
export interface FetchedKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

export type FetchKeys = () => Promise<FetchedKeys>

/**
 * Parses the JSON with credentials that metadata services and programs return.
 *
 * @param broken builds the error for text without credentials; absent: a RetryableStoreError, because another server
 * may have answered
 */
export function keysFromJson(
  text: string,
  from: string,
  broken: (message: string) => PgtsError = (message) => new RetryableStoreError(message, { code: 'format' }),
): FetchedKeys {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The text may contain a secret, and so may the message of a JSON error.
    throw broken(`${from} returned no credentials: the answer is not JSON`)
  }
  const fields = (typeof value === 'object' ? value : null) as Record<string, unknown> | null
  const field = (name: string) => (typeof fields?.[name] === 'string' ? fields[name] : undefined)
  const code = field('Code')
  if (code !== undefined && code !== 'Success') {
    throw new PgtsError('service', `${from} returned no credentials: ${code} ${field('Message') ?? ''}`.trimEnd())
  }
  const [accessKeyId, secretAccessKey] = [field('AccessKeyId'), field('SecretAccessKey')]
  if (!accessKeyId || !secretAccessKey) {
    const missing = accessKeyId ? 'SecretAccessKey' : 'AccessKeyId'
    throw broken(`${from} returned no credentials: ${missing} is missing`)
  }
  const sessionToken = field('Token') ?? field('SessionToken')
  const expiration = field('Expiration')
  if (expiration !== undefined && Number.isNaN(Date.parse(expiration))) {
    throw broken(`${from} returned credentials with an invalid Expiration: ${expiration}`)
  }
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken,
    expiration: expiration === undefined ? undefined : new Date(expiration),
  }
}
