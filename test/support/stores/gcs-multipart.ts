import { randomUUID } from 'node:crypto'
import { GcsRefusal } from './gcs-refusal.ts'

export interface Part {
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Parse a multipart body. */
export function multipartParts(contentType: string, body: Buffer): Part[] {
  const boundary = /boundary=(?:"([^"]+)"|([^;\s]+))/.exec(contentType)
  if (boundary === null) throw new GcsRefusal(400, 'badContent', 'A multipart body needs its boundary')
  const mark = Buffer.from(`--${boundary[1] ?? boundary[2]}`)
  const parts: Part[] = []
  let at = body.indexOf(mark)
  while (at >= 0) {
    const from = at + mark.length
    // Two dashes after the boundary: this was the last part.
    if (body.toString('latin1', from, from + 2) === '--') return parts
    at = body.indexOf(Buffer.concat([Buffer.from('\r\n'), mark]), from)
    if (at < 0) break
    parts.push(partOf(body.subarray(from, at)))
    at += 2
  }
  throw new GcsRefusal(400, 'badContent', 'A multipart body has to end with its boundary')
}

/** The bytes between two boundaries, with the end of line after the first. */
function partOf(text: Buffer): Part {
  const begin = text.indexOf('\n') + 1
  const blank = /\r?\n\r?\n/.exec(text.toString('latin1', begin - 1))
  if (blank === null) throw new GcsRefusal(400, 'badContent', 'A part needs a blank line behind its headers')
  const end = begin - 1 + blank.index
  const lines = text.toString('latin1', begin, Math.max(begin, end)).split(/\r?\n/)
  const headers = lines.flatMap((line) => {
    const colon = line.indexOf(':')
    return colon < 0 ? [] : [[line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()] as const]
  })
  return { headers: Object.fromEntries(headers), body: text.subarray(end + blank[0].length) }
}

/** The answers of a batch, each with the id of its call. */
export function mixedBody(answers: readonly { id: string; status: number; body: string }[]): {
  contentType: string
  body: string
} {
  const boundary = `batch_${randomUUID()}`
  const parts = answers.map(({ id, status, body }) =>
    [
      `--${boundary}`,
      'Content-Type: application/http',
      `Content-ID: ${id.replace(/^<?/, '<response-').replace(/>?$/, '>')}`,
      '',
      `HTTP/1.1 ${status} ${status < 300 ? 'OK' : 'Error'}`,
      ...(body === '' ? [] : ['Content-Type: application/json; charset=UTF-8']),
      `Content-Length: ${Buffer.byteLength(body)}`,
      '',
      body,
      '',
    ].join('\r\n'),
  )
  return { contentType: `multipart/mixed; boundary=${boundary}`, body: `${parts.join('')}--${boundary}--\r\n` }
}
