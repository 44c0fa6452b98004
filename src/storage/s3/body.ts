import type { IncomingMessage } from 'node:http'
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
  response: IncomingMessage,
  offset: number,
  ranged: boolean,
  failure: (error: unknown) => unknown,
): ObjectBody {
  const { 'content-length': length, 'content-range': range, etag } = response.headers
  const begin = /^bytes (\d+)-/.exec(range ?? '')?.[1]
  if (length === undefined || (ranged && (response.statusCode === 206 ? Number(begin) : 0) !== offset)) {
    response.destroy()
    throw failure(
      length === undefined
        ? new StoreTrouble('the store does not say how long its answer is')
        : new PgtsError('service', 'the store sends other bytes of an object than those it was asked for', {
            hints: ['a proxy or cache between that does not know ranges does this, too'],
          }),
    )
  }
  return {
    chunks: chunksOf(response, failure),
    sizeBytes: Number(length),
    ...(etag === undefined ? {} : { version: etag }),
    cancel: () => response.destroy(),
  }
}

async function* chunksOf(response: IncomingMessage, failure: (error: unknown) => unknown): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk as Buffer
  } catch (error) {
    throw failure(error)
  }
}
