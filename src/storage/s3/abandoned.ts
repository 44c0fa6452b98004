import { ListingProgress, NO_NEXT_PAGE } from '../object/pages.ts'
import { nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'
import { elementsIn, isTruncated, rootOf, textIn } from './xml.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Aborts the uploads below a prefix that began before a time and were not completed; returns their number. */
export async function abortAbandoned(
  requests: S3Requests,
  prefix: string,
  beforeMs: number,
  signal?: AbortSignal,
): Promise<number> {
  const progress = new ListingProgress(`cannot list the unfinished uploads of ${requests.shown(undefined)}`)
  let aborted = 0
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}
  for (;;) {
    // No EncodingType here: some services then encode the names without reporting it.
    const input = { ...requests.common, Prefix: prefix === '' ? undefined : textKey(prefix), ...marker }
    const subject = { action: 'list-uploads', operation: 'ListMultipartUploads', input, signal } as const
    const { output, refusal } = await requests.sendDirect(subject)
    if (refusal !== undefined) throw requests.errorOf(refusal, subject)
    const listing = rootOf(output.text ?? '', (error) => requests.failure(error, subject))
    const read = nameReader({ EncodingType: textIn(listing, 'EncodingType') })
    const uploads = elementsIn(listing, 'Upload').map((upload) => ({
      key: textIn(upload, 'Key'),
      id: textIn(upload, 'UploadId'),
      begunMs: Date.parse(textIn(upload, 'Initiated') ?? ''),
    }))
    for (const { key, id, begunMs } of uploads) {
      const name = read(key)
      // Some services list names outside the prefix.
      if (id === undefined || !name.startsWith(prefix) || !(begunMs < beforeMs)) continue
      if (await abortUpload(requests, name, id, signal)) aborted++
    }
    if (!isTruncated(listing)) return aborted
    const [nextKey = '', nextId] = [textIn(listing, 'NextKeyMarker'), textIn(listing, 'NextUploadIdMarker')]
    if (nextKey === '') throw requests.unusable(subject, NO_NEXT_PAGE)
    progress.advance([nextKey, nextId], uploads[0] && [uploads[0].key, uploads[0].id])
    marker = { KeyMarker: textKey(read(nextKey)), UploadIdMarker: nextId }
  }
}

/** Removes the parts of an upload; false if the upload no longer exists. */
export async function abortUpload(
  requests: S3Requests,
  name: ByteString,
  id: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const input = { ...requests.common, UploadId: id }
  const request = { action: 'abort', operation: 'AbortMultipartUpload', name, input, signal } as const
  const { refusal } = await requests.sendDirect(request)
  if (refusal !== undefined && (refusal.status !== 404 || refusal.unproven !== undefined))
    throw requests.errorOf(refusal, request)
  return refusal === undefined
}
