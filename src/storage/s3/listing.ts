import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { decodeUtf8 } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { ObjectEntry, ObjectListRequest, ObjectPage } from '../object/client.ts'
import { isText, nameReader } from './names.ts'
import type { S3Requests } from './requests.ts'

/** One page of names. */
export async function listPage(requests: S3Requests, request: ObjectListRequest): Promise<ObjectPage> {
  const { after, signal } = request
  const input = {
    ...requests.common,
    ...listParams(requests, request),
    ...(after === undefined ? {} : { ContinuationToken: after }),
  }
  const output = await requests.outputOf({
    action: 'list',
    command: () => new ListObjectsV2Command(input),
    ...(signal === undefined ? {} : { signal }),
  })
  const name = nameReader(output)
  const objects = (output.Contents ?? []).map((found) => entryOf(found, name))
  const prefixes = (output.CommonPrefixes ?? []).map(({ Prefix }) => name(Prefix))
  const next = output.IsTruncated === true ? output.NextContinuationToken : undefined
  return { objects, prefixes, ...(next === undefined ? {} : { next }) }
}

/** What is to be listed, of objects or of their versions. */
export function listParams(requests: S3Requests, { prefix, delimiter }: ObjectListRequest) {
  if (!isText(prefix)) {
    // No service takes such a name, so that there is nothing below it.
    throw new PgtsError('feature-not-supported', `cannot list ${requests.shown(prefix)}: names in S3 are UTF-8 text`)
  }
  return {
    // Names may hold what XML cannot carry.
    EncodingType: 'url' as const,
    ...(prefix === '' ? {} : { Prefix: decodeUtf8(prefix) }),
    ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
  }
}

/** `Contents` of a page or `Version` of a list of versions. */
export function entryOf(
  found: { Key?: string | undefined; Size?: number | undefined; LastModified?: Date | undefined },
  name: (text: string | undefined) => string,
): ObjectEntry {
  return { name: name(found.Key), sizeBytes: found.Size ?? 0, mtimeMs: found.LastModified?.getTime() ?? Number.NaN }
}
