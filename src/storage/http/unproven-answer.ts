import { asBytes, bytesToText, textToBytes } from '../../util/byte-string.ts'

const EXCERPT_CHARACTERS = 100

/** An answer, as far as it was read. */
export interface AnswerSeen {
  readonly status: number
  readonly contentType?: string
  /** Absent: the answer has no body, or it was not read. */
  readonly text?: string
}

/**
 * An answer that lacks what every answer of the store to such a request has: a login page, the error page of a proxy,
 * the answer to another request. Nothing can be concluded from it, not even that an object is missing. `networkError`
 * converts it to a RetryableStoreError: the next answer may come from the store.
 */
export class UnprovenAnswer extends Error {
  readonly hint = 'check for a proxy, load balancer or login page between this host and the store'

  /**
   * @param kind `an S3`, `an Azure`, `a GCS`
   * @param lacks the missing part: `no ETag`
   */
  constructor(kind: string, answer: AnswerSeen, lacks: string) {
    super(`${answerWords(answer)} is not ${kind} answer (${lacks})${excerpt(answer.text)}`)
  }
}

/** `answer 200 text/html`. */
function answerWords({ status, contentType = '' }: AnswerSeen): string {
  const type = bytesToText(asBytes(contentType.split(';', 1)[0]?.trim() ?? ''))
  return `answer ${status} ${type === '' ? 'without a content type' : type}`
}

function excerpt(text: string | undefined): string {
  if (text === undefined) return ''
  if (text === '') return ': it is empty'
  const begin = bytesToText(textToBytes(text.slice(0, EXCERPT_CHARACTERS)))
  return `: '${begin}${text.length > EXCERPT_CHARACTERS ? '...' : ''}'`
}
