import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import type { Readable } from 'node:stream'
import { sizeOfAnswer } from '../object/answer-size.ts'
import type { ObjectBody } from '../object/client.ts'
import { checkRange, type RangeAsked } from '../object/range.ts'
import type { S3Requests, S3Subject } from './requests.ts'

export const NO_BODY: ObjectBody = {
  chunks: (async function* () {})(),
  sizeBytes: 0,
  cancel: () => undefined,
}

/** The body of an answer to a range request. */
export function answerBody(
  requests: S3Requests,
  subject: S3Subject,
  output: GetObjectCommandOutput,
  asked: RangeAsked,
): ObjectBody {
  const { ContentLength: length, ContentRange: range, ETag: etag, $metadata: metadata } = output
  const body = output.Body as Readable
  // Avoids an uncaught error of the socket; the reader of the body still receives it.
  body.on('error', () => undefined)
  try {
    const answer = { status: metadata.httpStatusCode ?? 0, contentRange: range, contentLength: length }
    checkRange(requests.doing(subject), asked, answer)
  } catch (error) {
    body.destroy()
    throw error
  }
  return {
    chunks: chunksOf(body, (error) => requests.failure(error, subject)),
    ...sizeOfAnswer(length, range),
    version: etag,
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
