import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectListRequest, ObjectPage } from '../object/client.ts'
import { checkedPage, NO_NEXT_PAGE } from '../object/pages.ts'
import { isText, nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Fetches one page of names. */
export async function listPage(requests: S3Requests, request: ObjectListRequest): Promise<ObjectPage> {
  const { after, signal } = request
  const input = {
    ...requests.common,
    ...listParams(requests, request),
    ContinuationToken: after,
  }
  const subject = { action: 'list', signal } as const
  const output = await requests.outputOf({ ...subject, command: () => new ListObjectsV2Command(input) })
  const name = nameReader(output)
  const found = output.Contents ?? []
  if (found.some(({ Size, LastModified }) => Size === undefined || Number.isNaN(LastModified?.getTime() ?? NaN)))
    throw requests.unusable(subject, 'the listing has an object without its size or time')
  const objects = found.map((one) => entryOf(one, name))
  const prefixes = (output.CommonPrefixes ?? []).map(({ Prefix }) => name(Prefix))
  const { IsTruncated, NextContinuationToken: next } = output
  if (IsTruncated === true && !next) throw requests.unusable(subject, NO_NEXT_PAGE)
  const page = { objects, prefixes, next: IsTruncated === true && next ? next : undefined }
  const names = objects.map((object) => object.name)
  return checkedPage(requests.doing(subject), request, page, names)
}

/** Parameters of a listing, of objects or of their versions. */
export function listParams(requests: S3Requests, { prefix, delimiter }: ObjectListRequest) {
  if (!isText(prefix)) {
    // No service accepts such a name, so nothing can be listed below it.
    throw new PgtsError('feature-not-supported', `cannot list ${requests.shown(prefix)}: names in S3 are UTF-8 text`)
  }
  return {
    // Names may contain characters that XML cannot carry.
    EncodingType: 'url' as const,
    Prefix: prefix === '' ? undefined : textKey(prefix),
    Delimiter: delimiter,
  }
}

/** Converts one entry of `Contents` or `Version`. */
export function entryOf(
  found: { Key?: string; Size?: number; LastModified?: Date },
  name: (text: string | undefined) => ByteString,
): ObjectEntry {
  return { name: name(found.Key), sizeBytes: found.Size ?? 0, mtimeMs: found.LastModified?.getTime() ?? Number.NaN }
}
