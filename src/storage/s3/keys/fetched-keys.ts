import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { PgtsError } from '../../../util/error.ts'
import { RetryableStoreError } from '../../object/retryable-error.ts'

/** Keys for AWS's client: themselves, or how to get them. One fetch serves all concurrent requests, and is repeated before they expire. */
export type Credentials = NonNullable<S3ClientConfig['credentials']>

/** Keys as the service knows them; temporary ones come with a token and an end. */
export interface FetchedKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string
  readonly expiration?: Date
}

export type FetchKeys = () => Promise<FetchedKeys>

/**
 * Keys from the JSON that metadata services and programs answer with.
 *
 * @param broken error for text without keys; absent: a RetryableStoreError, as something else may have answered for the service
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
    // The text itself may hold a secret, and so may the words of a JSON error.
    throw broken(`${from} did not answer with keys: the answer is not JSON`)
  }
  const fields = (typeof value === 'object' ? value : null) as Record<string, unknown> | null
  const field = (name: string) => (typeof fields?.[name] === 'string' ? fields[name] : undefined)
  const code = field('Code')
  if (code !== undefined && code !== 'Success') {
    throw new PgtsError('service', `${from} hands out no keys: ${code} ${field('Message') ?? ''}`.trimEnd())
  }
  const [accessKeyId, secretAccessKey] = [field('AccessKeyId'), field('SecretAccessKey')]
  if (!accessKeyId || !secretAccessKey) {
    const missing = accessKeyId ? 'SecretAccessKey' : 'AccessKeyId'
    throw broken(`${from} did not answer with keys: ${missing} is missing`)
  }
  const sessionToken = field('Token') ?? field('SessionToken')
  const expiration = field('Expiration')
  if (expiration !== undefined && Number.isNaN(Date.parse(expiration))) {
    throw broken(`${from} gives keys whose Expiration is not a time: ${expiration}`)
  }
  return {
    accessKeyId,
    secretAccessKey,
    sessionToken,
    expiration: expiration === undefined ? undefined : new Date(expiration),
  }
}
