import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectListRequest, ObjectPage } from '../object/client.ts'
import { checkedPage, NO_NEXT_PAGE } from '../object/pages.ts'
import { isText, nameReader, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'
import { elementsIn, isTruncated, rootOf, textIn } from './xml.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** Fetches one page of names. */
export async function listPage(requests: S3Requests, request: ObjectListRequest): Promise<ObjectPage> {
  const { after, signal } = request
  const input = {
    ...requests.common,
    ...listParams(requests, request),
    ContinuationToken: after,
  }
  const subject = { action: 'list', operation: 'ListObjectsV2', input, signal } as const
  const { output, refusal } = await requests.sendDirect(subject)
  if (refusal !== undefined) throw requests.errorOf(refusal, subject)
  const result = rootOf(output.text ?? '', (error) => requests.failure(error, subject))
  const name = nameReader({ EncodingType: textIn(result, 'EncodingType') })
  const objects = elementsIn(result, 'Contents').map((found) => {
    const size = textIn(found, 'Size') ?? ''
    const LastModified = new Date(textIn(found, 'LastModified') ?? '')
    if (!/^[0-9]+$/.test(size) || Number.isNaN(LastModified.getTime()))
      throw requests.unusable(subject, 'the listing has an object without its size or time')
    return entryOf({ Key: textIn(found, 'Key'), Size: Number(size), LastModified }, name)
  })
  const prefixes = elementsIn(result, 'CommonPrefixes').map((found) => name(textIn(found, 'Prefix')))
  const next = isTruncated(result) ? textIn(result, 'NextContinuationToken') : undefined
  if (isTruncated(result) && !next) throw requests.unusable(subject, NO_NEXT_PAGE)
  const page = { objects, prefixes, next }
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
