import { AbortMultipartUploadCommand, ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { ListingProgress, NO_NEXT_PAGE } from '../object/pages.ts'
import { nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'

/** Abort the uploads below a prefix that were begun before a time and never completed; their number. */
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
    // Names are not asked for in escapes, as elsewhere: some services then escape them without saying so.
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
      // Some services list more than what the prefix names.
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

/** Give back the parts of an upload; false when there is no such upload any more. */
export async function abortUpload(
  requests: S3Requests,
  name: string,
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
