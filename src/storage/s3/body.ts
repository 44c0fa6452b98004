import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import type { Readable } from 'node:stream'
import { StoreTrouble } from '../object/trouble.ts'
import type { ObjectBody } from '../object/client.ts'
import { PgtsError } from '../../util/error.ts'

export const NO_BODY: ObjectBody = {
  chunks: (async function* () {})(),
  sizeBytes: 0,
  cancel: () => undefined,
}

/**
 * The body of an answer to a request for bytes from `offset` on.
 *
 * @param failure puts what breaks it off into words
 */
export function answerBody(
  output: GetObjectCommandOutput,
  offset: number,
  ranged: boolean,
  failure: (error: unknown) => unknown,
): ObjectBody {
  const { ContentLength: length, ContentRange: range, ETag: etag, $metadata: metadata } = output
  const body = output.Body as Readable
  // It is the socket's: whoever reads it hears of an error all the same.
  body.on('error', () => undefined)
  const begin = /^bytes (\d+)-/.exec(range ?? '')?.[1]
  if (length === undefined || (ranged && (metadata.httpStatusCode === 206 ? Number(begin) : 0) !== offset)) {
    body.destroy()
    throw failure(
      length === undefined
        ? new StoreTrouble('the store does not say how long its answer is')
        : new PgtsError('service', 'the store sends other bytes of an object than those it was asked for', {
            hints: ['a proxy or cache between that does not know ranges does this, too'],
          }),
    )
  }
  return {
    chunks: chunksOf(body, failure),
    sizeBytes: length,
    ...(etag === undefined ? {} : { version: etag }),
    cancel: () => body.destroy(),
  }
}

async function* chunksOf(body: Readable, failure: (error: unknown) => unknown): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk as Buffer
  } catch (error) {
    throw failure(error)
  }
}
