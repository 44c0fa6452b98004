import type { BatchSubResponse, ContainerClient } from '@azure/storage-blob'
import { BlobBatch } from '@azure/storage-blob'
import type { NotRemoved } from '../object/client.ts'
import { textName } from '../object/text-name.ts'
import type { AzureSdkCredential } from './credential.ts'
import { azureError, explain, isDenial, type AzurePlace } from './error.ts'
import type { ByteString } from '../../util/byte-string.ts'

/**
 * Removes up to 256 blobs with one request. The status of the request says nothing about the blobs: each has its own
 * answer in the body. A blob without an answer is reported as not removed.
 */
export async function removeBatch(
  container: ContainerClient,
  credential: AzureSdkCredential,
  place: AzurePlace,
  names: readonly ByteString[],
  signal: AbortSignal | undefined,
): Promise<NotRemoved[]> {
  if (names.length === 0) return []
  const batch = new BlobBatch()
  const action = `cannot remove ${names.length} blobs of ${place.display}`
  let answers: readonly (BatchSubResponse | undefined)[]
  try {
    for (const name of names) await batch.deleteBlob(container.getBlobClient(textName(name)).url, credential)
    const response = await container
      .getBlobBatchClient()
      .submitBatch(batch, signal === undefined ? {} : { abortSignal: signal })
    answers = response.subResponses
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw azureError(action, 'file-remove', place, error)
  }
  const left: NotRemoved[] = []
  for (const [index, name] of names.entries()) {
    const answer = answers[index]
    if (answer === undefined) {
      left.push({ name, reason: 'the store returned no result for it' })
      continue
    }
    const { status, errorCode: service = '', statusMessage: words } = answer
    if ((status >= 200 && status < 300) || (status === 404 && (service === 'BlobNotFound' || service === ''))) continue
    const refusal = { status, service, words }
    left.push({ name, reason: explain(place, refusal), denied: isDenial(refusal) })
  }
  return left
}
