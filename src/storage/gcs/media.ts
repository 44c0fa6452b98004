import type { IncomingMessage } from 'node:http'
import { networkError } from '../http/network-error.ts'
import { StreamChunks } from '../http/stream-chunks.ts'
import { sizeOfAnswer } from '../object/answer-size.ts'
import type { ObjectBody, ObjectGetRequest } from '../object/client.ts'
import { checkRange } from '../object/range.ts'
import type { Doing, GcsApi } from './api.ts'

/** Refusals that give a result: no such object, no such version of it, or no such range. */
const DECISIVE = [404, 412, 416]

interface MediaUrls {
  /** URL of the bytes of an object, or of one version of it. */
  readonly mediaUrl: string
  /** URL of its metadata in JSON, with the same conditions. */
  readonly aboutUrl: string
}

/** Reads an object, or a range of it. */
export async function getMedia(
  api: GcsApi,
  read: Doing,
  urls: MediaUrls,
  request: ObjectGetRequest,
): Promise<ObjectBody> {
  const { offset = 0, length, signal } = request
  const last = length === undefined ? '' : String(offset + length - 1)
  const range = offset === 0 && length === undefined ? {} : { headers: { range: `bytes=${offset}-${last}` } }
  const response = await api.open(read, { method: 'GET', url: urls.mediaUrl, ...range, signal }, DECISIVE)
  if (!DECISIVE.includes(response.statusCode ?? 0)) return bodyOf(api, read, response, request)
  const refusal = await api.refusal(read, response, signal)
  if (refusal.unproven !== undefined) {
    // The service refuses requests for bytes with plain text, which proves nothing, and requests for metadata with
    // JSON.
    const about = await api.resource(read, 'storage#object', { method: 'GET', url: urls.aboutUrl, signal })
    if (refusal.status !== 416 || offset < Number(about['size'])) throw api.errorOf(read, refusal)
  } else if (refusal.status !== 416) throw api.errorOf(read, refusal)
  // The range begins at the end of the object or beyond.
  return { chunks: nothing(), sizeBytes: 0, cancel: () => undefined }
}

function bodyOf(api: GcsApi, read: Doing, response: IncomingMessage, request: ObjectGetRequest): ObjectBody {
  const { signal } = request
  const { 'x-goog-generation': version, 'content-range': contentRange, 'content-length': length } = response.headers
  try {
    if (typeof version !== 'string') throw api.unproven(read, response, 'no header x-goog-generation')
    const contentLength = length === undefined ? undefined : Number(length)
    checkRange(read.action, request, { status: response.statusCode ?? 0, contentRange, contentLength })
    return {
      ...sizeOfAnswer(length, contentRange),
      version,
      chunks: new StreamChunks(response, (error) =>
        signal?.aborted ? signal.reason : networkError(read.action, error),
      ),
      cancel: () => void response.destroy(),
    }
  } catch (error) {
    response.destroy()
    throw error
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
