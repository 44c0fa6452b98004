import { randomUUID } from 'node:crypto'
import { isPgtsError } from '../../util/error.ts'
import type { NotRemoved } from '../object/client.ts'
import { RetryableStoreError } from '../object/retryable-error.ts'
import type { Doing, GcsApi } from './api.ts'
import { explain, gcsError, isBucketMissing, isDenial, isPassing, refusalIn } from './error.ts'
import type { GcsUrls } from './urls.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'

/** Calls that one batch may hold. */
export const MAX_CALLS = 100

/**
 * Removes up to 100 objects with one request. The status of the request says nothing about the objects: each has its
 * own answer in the body. An object without an answer is reported as not removed.
 *
 * @throws RetryableStoreError if one object was not removed for a passing reason: the whole batch can be repeated
 * @see https://cloud.google.com/storage/docs/batch
 */
export async function removeBatch(
  api: GcsApi,
  names: readonly ByteString[],
  signal: AbortSignal | undefined,
  urls: GcsUrls,
): Promise<NotRemoved[]> {
  const [first] = names
  if (first === undefined) return []
  const what =
    names.length === 1
      ? `${api.place.display}/${bytesToText(first)}`
      : `${names.length} objects of ${api.place.display}`
  const doing: Doing = { action: `cannot remove ${what}`, code: 'file-remove' }
  if (names.length === 1) return removeOne(api, doing, first, signal, urls)
  const boundary = randomUUID()
  const calls = names.map((name, index) =>
    [
      `--${boundary}`,
      'content-type: application/http',
      'content-transfer-encoding: binary',
      `content-id: <${index + 1}>`,
      '',
      `DELETE ${urls.objectPath(name)} HTTP/1.1`,
      '',
      '',
    ].join('\r\n'),
  )
  const response = await api.open(doing, {
    method: 'POST',
    url: urls.batch(),
    headers: { 'content-type': `multipart/mixed; boundary=${boundary}` },
    body: `${calls.join('')}--${boundary}--\r\n`,
    signal,
  })
  const body = await api.body(doing, response, signal)
  const text = body.toString('utf8')
  const answers = callAnswers(response.headers['content-type'] ?? '', text)
  if (answers.size === 0) throw api.unproven(doing, response, 'no answers to the calls of a batch', text)
  const left: NotRemoved[] = []
  for (const [index, name] of names.entries()) {
    const answer = answers.get(index + 1)
    if (answer === undefined) {
      left.push({ name, reason: 'the store returned no result for it' })
      continue
    }
    const refusal = refusalIn(answer.status, answer.body)
    if (isPassing(refusal)) throw gcsError(doing.action, doing.code, api.place, refusal)
    if (answer.status >= 200 && answer.status < 300) continue
    if (answer.status === 404 && !isBucketMissing(refusal)) continue
    if (answer.status === 401)
      throw new RetryableStoreError(`${doing.action}: ${explain(api.place, refusal)}`, { code: 'access' })
    left.push({ name, reason: explain(api.place, refusal), denied: isDenial(refusal) })
  }
  return left
}

async function removeOne(
  api: GcsApi,
  doing: Doing,
  name: ByteString,
  signal: AbortSignal | undefined,
  urls: GcsUrls,
): Promise<NotRemoved[]> {
  try {
    const response = await api.open(doing, { method: 'DELETE', url: urls.object(name), signal })
    const body = await api.body(doing, response, signal)
    if (response.statusCode === 204) return []
    // Emulators answer with another status: then check that the object is missing.
    await api.resource(doing, 'storage#object', { method: 'GET', url: urls.object(name), signal })
    throw api.unproven(doing, response, 'status 204 is expected', body.toString('utf8'))
  } catch (error) {
    if (!isPgtsError(error) || error instanceof RetryableStoreError || error.code === 'access') throw error
    if (error.code === 'file-missing') return []
    if (error.code !== 'file-remove') throw error
    return [{ name, reason: error.message.slice(doing.action.length + 2), denied: error.denied }]
  }
}

/** The answers in a multipart/mixed body, by the number of their call. */
function callAnswers(contentType: string, text: string): Map<number, { status: number; body: string }> {
  const answers = new Map<number, { status: number; body: string }>()
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/i.exec(contentType)
  if (boundary === null) return answers
  for (const part of text.split(`--${boundary[1] ?? boundary[2]}`).slice(1)) {
    const id = /^content-id:\s*<?response-<?(\d+)>?/im.exec(part)?.[1]
    const status = /^HTTP\/[\d.]+ (\d{3})/m.exec(part)
    if (id === undefined || status === null) continue
    const answer = part.slice(status.index)
    const blank = /\r?\n\r?\n/.exec(answer)
    const body = blank === null ? '' : answer.slice(blank.index + blank[0].length).trim()
    answers.set(Number(id), { status: Number(status[1]), body })
  }
  return answers
}
