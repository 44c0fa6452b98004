import { readBody } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { xmlElement, xmlRoot } from '../http/xml-root.ts'
import { PgtsError } from '../../util/error.ts'

/** What every service puts into its answer when it has done what it was asked. */
interface Proof {
  readonly statuses: readonly number[]
  readonly headers?: readonly string[]
  /** Root element of the body. */
  readonly root?: string
  /** Elements of the body with one of these values; [] is any value but none. */
  readonly elements?: Readonly<Record<string, readonly string[]>>
}

const BOOLEAN = ['true', 'false']

/**
 * For each command of AWS's client that is used. The client itself takes nearly everything for an answer: HTML for a
 * listing of nothing, any 200 for an object that was stored.
 *
 * Of Ceph 16 the ETag in CompleteMultipartUploadResult is empty, so that is not asked for.
 */
const PROOFS: Readonly<Record<string, Proof>> = {
  HeadObjectCommand: { statuses: [200], headers: ['etag', 'last-modified'] },
  GetObjectCommand: { statuses: [200, 206], headers: ['etag', 'last-modified'] },
  PutObjectCommand: { statuses: [200], headers: ['etag'] },
  UploadPartCommand: { statuses: [200], headers: ['etag'] },
  CreateMultipartUploadCommand: {
    statuses: [200],
    root: 'InitiateMultipartUploadResult',
    elements: { UploadId: [] },
  },
  CompleteMultipartUploadCommand: { statuses: [200], root: 'CompleteMultipartUploadResult' },
  AbortMultipartUploadCommand: { statuses: [204] },
  DeleteObjectCommand: { statuses: [204] },
  DeleteObjectsCommand: { statuses: [200], root: 'DeleteResult' },
  ListObjectsV2Command: { statuses: [200], root: 'ListBucketResult', elements: { IsTruncated: BOOLEAN } },
  ListObjectVersionsCommand: { statuses: [200], root: 'ListVersionsResult', elements: { IsTruncated: BOOLEAN } },
  ListMultipartUploadsCommand: {
    statuses: [200],
    root: 'ListMultipartUploadsResult',
    elements: { IsTruncated: BOOLEAN },
  },
}

/** An answer before AWS's client reads it. */
export interface HttpResponse {
  statusCode: number
  body: unknown
  readonly headers: Readonly<Record<string, string>>
}

export interface ProvenAnswer {
  /** The body, where it is XML. */
  readonly xml?: string
  /** It is a refusal, but not one of an S3 service: what came instead. Never of a HEAD, whose answers have no body. */
  readonly unproven?: UnprovenAnswer
}

/**
 * Read what proves an answer to be the service's. A body that was read is put back; an error in what began as a success
 * gets the status of an error.
 *
 * @param command name of the client's command
 * @throws UnprovenAnswer for a success that the service did not report
 */
export async function proveAnswer(command: string, response: HttpResponse): Promise<ProvenAnswer> {
  const proof = PROOFS[command]
  if (proof === undefined) throw new PgtsError('assert', `no proof is known for answers to ${command}`)
  const isSuccess = response.statusCode >= 200 && response.statusCode < 300
  if (!isSuccess) return command === 'HeadObjectCommand' ? {} : proveRefusal(response)
  if (proof.root !== undefined) return { xml: await proveXml(proof, proof.root, response) }
  const missing = (proof.headers ?? []).find((name) => !response.headers[name])
  const isExpected = proof.statuses.includes(response.statusCode)
  if (missing === undefined && isExpected) return {}
  const text = command === 'HeadObjectCommand' ? undefined : await collect(response)
  throw unproven(response, isExpected ? `no header ${missing}` : `status ${wanted(proof)} is expected`, text)
}

async function proveRefusal(response: HttpResponse): Promise<ProvenAnswer> {
  const text = await collect(response)
  if (xmlRoot(text) === 'Error' && xmlElement(text, 'Code')) return {}
  return { unproven: unproven(response, 'no error code', text) }
}

async function proveXml(proof: Proof, root: string, response: HttpResponse): Promise<string> {
  const text = await collect(response)
  const found = xmlRoot(text)
  if (found === 'Error') response.statusCode = 503
  else if (found !== root) throw unproven(response, `no element ${root}`, text)
  else if (!proof.statuses.includes(response.statusCode))
    throw unproven(response, `status ${wanted(proof)} is expected`, text)
  else {
    for (const [name, values] of Object.entries(proof.elements ?? {})) {
      const value = xmlElement(text, name)
      if (!value || (values.length > 0 && !values.includes(value.toLowerCase())))
        throw unproven(response, `no element ${name}`, text)
    }
  }
  return text
}

function wanted({ statuses }: Proof): string {
  return statuses.join(' or ')
}

/** The body as text, left as bytes for the client. */
async function collect(response: HttpResponse): Promise<string> {
  const { body } = response
  const bytes =
    body instanceof Uint8Array ? Buffer.from(body) : await readBody((body ?? []) as AsyncIterable<Uint8Array>)
  response.body = bytes
  return bytes.toString('utf8')
}

function unproven({ statusCode, headers }: HttpResponse, lacks: string, text: string | undefined): UnprovenAnswer {
  return new UnprovenAnswer('an S3', { status: statusCode, contentType: headers['content-type'], text }, lacks)
}
