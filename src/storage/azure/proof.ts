import type { IncomingMessage } from 'node:http'
import { PgtsError } from '../../util/error.ts'
import { readBody } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { xmlElement, xmlRoot } from '../http/xml-root.ts'

/** What proves, beside the request id, that the service performed the request. */
interface Proof {
  readonly statuses: readonly number[]
  readonly headers?: Readonly<Record<string, RegExp>>
  /** Root element of the body, and an element that every such body has, even if empty. */
  readonly body?: { readonly root: string; readonly element: string }
}

const BLOB = { etag: /./, 'last-modified': /./ }

/** By method and `comp`, for all requests of this client. The SDK would accept any 200 with XML as a listing. */
const PROOFS: Readonly<Record<string, Proof>> = {
  HEAD: { statuses: [200], headers: BLOB },
  GET: { statuses: [200, 206], headers: BLOB },
  'GET list': { statuses: [200], body: { root: 'EnumerationResults', element: 'NextMarker' } },
  PUT: { statuses: [201], headers: BLOB },
  'PUT block': { statuses: [201] },
  'PUT blocklist': { statuses: [201], headers: BLOB },
  'POST batch': { statuses: [202], headers: { 'content-type': /^multipart\/mixed/i } },
}

/** Headers of every answer of the service, whatever its status. */
const SIGNS = ['x-ms-request-id', 'x-ms-version', 'x-ms-error-code']

/**
 * Checks by the headers that an answer comes from the service; for a listing also by the body.
 *
 * @returns the body as text, if it was read
 * @throws UnprovenAnswer
 */
export async function proveAnswer(
  { method, url }: { readonly method: string; readonly url: string },
  response: IncomingMessage,
): Promise<string | undefined> {
  const { statusCode: status = 0, headers } = response
  const unproven = async (lacks: string, text?: string) => {
    const seen = { status, contentType: headers['content-type'] }
    const body = method === 'HEAD' ? undefined : (text ?? (await textOf(response)))
    return new UnprovenAnswer('an Azure', { ...seen, text: body }, lacks)
  }
  const isSigned = SIGNS.some((name) => headers[name] !== undefined)
  if (status < 200 || status >= 300) {
    if (!isSigned && status < 500) throw await unproven('no header x-ms-request-id')
    return undefined
  }
  if (!isSigned) throw await unproven('no header x-ms-request-id')
  const operation = [method, new URL(url).searchParams.get('comp')].filter(Boolean).join(' ')
  const proof = PROOFS[operation]
  if (proof === undefined) throw new PgtsError('assert', `no proof is known for answers to ${operation}`)
  if (!proof.statuses.includes(status)) throw await unproven(`status ${proof.statuses.join(' or ')} is expected`)
  for (const [name, value] of Object.entries(proof.headers ?? {})) {
    if (!value.test(String(headers[name] ?? ''))) throw await unproven(`no header ${name}`)
  }
  if (proof.body === undefined) return undefined
  const { root, element } = proof.body
  const text = await textOf(response)
  if (xmlRoot(text) !== root) throw await unproven(`no element ${root}`, text)
  if (xmlElement(text, element) === undefined) throw await unproven(`no element ${element}`, text)
  return text
}

export async function textOf(response: IncomingMessage): Promise<string> {
  return (await readBody(response)).toString('utf8')
}
