import type { IncomingMessage } from 'node:http'
import type {
  HttpHeaders,
  HttpOperationResponse,
  IHttpClient,
  RequestPolicyFactory,
  WebResource,
} from '@azure/storage-blob'
import type { HttpSend } from '../http/send.ts'
import { proveAnswer, textOf } from './proof.ts'

/**
 * HTTP transport for the SDK over our own sockets: keep-alive, our certificates, a timeout for stalled connections, and
 * Node's own errors.
 */
export function azureTransport(send: HttpSend): IHttpClient {
  return {
    async sendRequest(request: WebResource): Promise<HttpOperationResponse> {
      const headers = request.headers.toJson({ preserveCase: true })
      const body = request.body as Uint8Array | string | undefined
      const signal = request.abortSignal as AbortSignal | undefined
      const response = await send({
        method: request.method,
        url: request.url,
        headers,
        body: body ?? undefined,
        signal,
      })
      const proven = await proveAnswer(request, response)
      const status = response.statusCode ?? 0
      const answer = { request, status, headers: headersOf(response, request.headers) }
      const streamed = request.streamResponseStatusCodes
      if (streamed?.has(status) || streamed?.has(Number.POSITIVE_INFINITY)) {
        // The SDK discards an answer without a length.
        if (!answer.headers.contains('content-length')) answer.headers.set('content-length', NO_LENGTH)
        return { ...answer, readableStreamBody: response }
      }
      return { ...answer, bodyAsText: proven ?? (await textOf(response)) }
    },
  }
}

/** Replaces the length of a body that came without one. */
export const NO_LENGTH = 2 ** 50

/** The SDK requires headers of its own class, which the request provides. */
function headersOf(response: IncomingMessage, like: HttpHeaders): HttpHeaders {
  const headers = like.clone()
  for (const name of headers.headerNames()) headers.remove(name)
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? (value[0] ?? '') : value)
  }
  return headers
}

/**
 * Makes the service compare a blob that is sent in one request with its MD5. The SDK can set the MD5 only as a property
 * to store, which the service need not verify; it does verify the header Content-MD5.
 */
export const checkedOnArrival: RequestPolicyFactory = {
  create: (next) => ({
    sendRequest(request) {
      const md5 = request.headers.get(KEPT_MD5)
      if (md5 !== undefined) {
        request.headers.remove(KEPT_MD5)
        request.headers.set('content-md5', md5)
      }
      return next.sendRequest(request)
    },
  }),
}

const KEPT_MD5 = 'x-ms-blob-content-md5'
