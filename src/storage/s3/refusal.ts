import type { IncomingMessage } from 'node:http'
import { readBody } from '../http/send.ts'
import { parseXml, textOf, type XmlElement } from './xml.ts'

/** What the service said instead of doing what it was asked. */
export interface Refusal {
  /** HTTP status; 200 where the refusal came in the body of what began as a success. */
  readonly status: number
  /** `NoSuchKey`, `SlowDown`, ...; '' when the answer has no body or is not from an S3 service. */
  readonly code: string
  readonly message: string
  /** Where the bucket is, if the service said so. */
  readonly region?: string
  /** Time of the service, as it says it. */
  readonly serverTime?: string
  readonly retryAfter?: string
  /** By which the operator of the service finds this request in its log. */
  readonly requestId?: string
}

/** Read the rest of an answer that is not a success. Signed text that some services repeat in it is left out. */
export async function readRefusal(response: IncomingMessage): Promise<Refusal> {
  const status = response.statusCode ?? 0
  const body = await readBody(response, 1024 * 1024)
  let error: XmlElement | undefined
  try {
    error = body.length === 0 ? undefined : errorElement(parseXml(body.toString('utf8')))
  } catch {
    // A proxy's page, or nothing that we know: the status is what there is to say.
  }
  return refusalOf(status, error, response.headers)
}

export function refusalOf(
  status: number,
  error: XmlElement | undefined,
  headers: IncomingMessage['headers'] = {},
): Refusal {
  const header = (name: string) => (typeof headers[name] === 'string' ? headers[name] : undefined)
  const region = textOf(error, 'Region') ?? header('x-amz-bucket-region')
  const serverTime = textOf(error, 'ServerTime') ?? header('date')
  const retryAfter = header('retry-after')
  const requestId = textOf(error, 'RequestId') ?? header('x-amz-request-id')
  return {
    status,
    code: textOf(error, 'Code') ?? '',
    message: textOf(error, 'Message') ?? '',
    ...(region === undefined ? {} : { region }),
    ...(serverTime === undefined ? {} : { serverTime }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(requestId === undefined ? {} : { requestId }),
  }
}

/** `<Error>`, bare as S3 has it or wrapped as STS does. */
export function errorElement(root: XmlElement): XmlElement | undefined {
  if (root.name === 'Error') return root
  return root.children.find(({ name }) => name === 'Error')
}
