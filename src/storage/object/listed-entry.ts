import type { ObjectClient, ObjectEntry } from './client.ts'
import { RetryableStoreError } from './retryable-error.ts'

/**
 * An object as a listing reports it, where the answer to HEAD came without a length.
 *
 * @param shown `s3://bucket/name`
 */
export async function listedEntry(
  list: ObjectClient['list'],
  name: string,
  shown: string,
  signal: AbortSignal | undefined,
): Promise<ObjectEntry> {
  // The shortest name with this prefix is the first of all.
  const { objects } = await list({ prefix: name, signal })
  const entry = objects.find((object) => object.name === name)
  if (entry === undefined) throw new RetryableStoreError(`cannot look at ${shown}: the store does not report its size`)
  return entry
}
