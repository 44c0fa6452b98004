import { StreamChunks } from '../http/stream-chunks.ts'
import { sizeOfAnswer } from '../object/answer-size.ts'
import type { ObjectBody } from '../object/client.ts'
import { checkRange, type RangeAsked } from '../object/range.ts'
import type { S3Subject } from './error.ts'
import type { DirectOutput, S3Requests } from './requests.ts'

export const NO_BODY: ObjectBody = {
  chunks: (async function* () {})(),
  sizeBytes: 0,
  cancel: () => undefined,
}

/** The body of an answer to a range request. */
export function answerBody(
  requests: S3Requests,
  subject: S3Subject,
  { statusCode: status, headers, body }: DirectOutput,
  asked: RangeAsked,
): ObjectBody {
  const { 'content-range': range, etag } = headers
  const length = lengthOf(headers)
  try {
    checkRange(requests.doing(subject), asked, { status, contentRange: range, contentLength: length })
  } catch (error) {
    body.destroy()
    throw error
  }
  return {
    chunks: new StreamChunks(body, (error) => requests.failure(error, subject)),
    ...sizeOfAnswer(length, range),
    version: etag,
    cancel: () => body.destroy(),
  }
}

/** Announced length of a body, bytes. */
export function lengthOf(headers: Readonly<Record<string, string>>): number | undefined {
  const length = headers['content-length']
  return length === undefined ? undefined : Number(length)
}
