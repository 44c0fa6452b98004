import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { ListingProgress, NO_NEXT_PAGE } from '../object/pages.ts'
import { nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Aborts the uploads below a prefix that began before a time and were not completed; returns their number. */
export async function abortAbandoned(
  requests: S3Requests,
  prefix: string,
  beforeMs: number,
  signal?: AbortSignal,
): Promise<number> {
  const cancel = signal === undefined ? {} : { signal }
  const progress = new ListingProgress(`cannot list the unfinished uploads of ${requests.shown(undefined)}`)
  let aborted = 0
  let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}
  for (;;) {
    // No EncodingType here: some services then encode the names without reporting it.
    const input = { ...requests.common, Prefix: prefix === '' ? undefined : textKey(prefix), ...marker }
    const output = await requests.outputOf({
      action: 'list-uploads',
      command: () => new ListMultipartUploadsCommand(input),
      ...cancel,
    })
    const read = nameReader(output)
    const uploads = output.Uploads ?? []
    for (const { Key, UploadId, Initiated } of uploads) {
      const name = read(Key)
      // Some services list names outside the prefix.
      if (UploadId === undefined || !name.startsWith(prefix) || !((Initiated?.getTime() ?? NaN) < beforeMs)) continue
      if (await abortUpload(requests, name, UploadId, signal)) aborted++
    }
    if (output.IsTruncated !== true) return aborted
    const { NextKeyMarker = '', NextUploadIdMarker } = output
    if (NextKeyMarker === '') throw requests.unusable({ action: 'list-uploads' }, NO_NEXT_PAGE)
    progress.advance([NextKeyMarker, NextUploadIdMarker], uploads[0] && [uploads[0].Key, uploads[0].UploadId])
    marker = {
      KeyMarker: textKey(read(NextKeyMarker)),
      UploadIdMarker: NextUploadIdMarker,
    }
  }
}

/** Removes the parts of an upload; false if the upload no longer exists. */
export async function abortUpload(
  requests: S3Requests,
  name: ByteString,
  id: string,
  signal?: AbortSignal,
): Promise<boolean> {
  const input = { ...requests.common, Key: textKey(name), UploadId: id }
  const request = {
    action: 'abort',
    name,
    command: () => new AbortMultipartUploadCommand(input),
    signal,
  } as const
  const { refusal } = await requests.send(request)
  if (refusal !== undefined && (refusal.status !== 404 || refusal.unproven !== undefined))
    throw requests.errorOf(refusal, request)
  return refusal === undefined
}
