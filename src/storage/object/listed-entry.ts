import type { ObjectClient, ObjectEntry } from './client.ts'
import { RetryableStoreError } from './retryable-error.ts'
import type { ByteString } from '../../util/byte-string.ts'

/**
 * Looks an object up by a listing, because the answer to HEAD came without a length.
 *
 * @param shown `s3://bucket/name`
 */
export async function listedEntry(
  list: ObjectClient['list'],
  name: ByteString,
  shown: string,
  signal: AbortSignal | undefined,
): Promise<ObjectEntry> {
  // The shortest name with this prefix sorts first.
  const { objects } = await list({ prefix: name, signal })
  const entry = objects.find((object) => object.name === name)
  if (entry === undefined) throw new RetryableStoreError(`cannot look up ${shown}: the store does not report its size`)
  return entry
}
