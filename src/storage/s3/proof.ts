import { Readable } from 'node:stream'
import { readBody } from '../http/send.ts'
import { UnprovenAnswer } from '../http/unproven-answer.ts'
import { xmlElement, xmlRoot } from '../http/xml-root.ts'
import { PgtsError } from '../../util/error.ts'

/** What every service includes in its answer when it has performed the request. */
interface Proof {
  readonly statuses: readonly number[]
  readonly headers?: readonly string[]
  /** Root element of the body. */
  readonly root?: string
  /** Elements of the body and their allowed values; [] allows every value except an empty one. */
  readonly elements?: Readonly<Record<string, readonly string[]>>
}

const BOOLEAN = ['true', 'false']

/**
 * For each command of AWS's client that is used. The client itself accepts almost any answer: HTML as an empty listing,
 * any 200 as a stored object.
 *
 * Ceph 16 sends an empty ETag in CompleteMultipartUploadResult, so that element is not required.
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
  /** The body, if the answer is a refusal or has XML. */
  readonly text?: string
  /** Set if the answer is a refusal, but not of an S3 service. Never set for a HEAD, whose answers have no body. */
  readonly unproven?: UnprovenAnswer
}

/**
 * Checks that an answer comes from the service. A body that was read is put back; an error in the body of a 200 gets
 * the status of an error.
 *
 * @param command name of the client's command
 * @throws UnprovenAnswer for a success without this proof
 */
export async function proveAnswer(command: string, response: HttpResponse): Promise<ProvenAnswer> {
  const proof = PROOFS[command]
  if (proof === undefined) throw new PgtsError('assert', `no proof is known for answers to ${command}`)
  const isSuccess = response.statusCode >= 200 && response.statusCode < 300
  if (!isSuccess) return command === 'HeadObjectCommand' ? {} : proveRefusal(response)
  if (proof.root !== undefined) return { text: await proveXml(proof, proof.root, response) }
  const missing = (proof.headers ?? []).find((name) => !response.headers[name])
  const isExpected = proof.statuses.includes(response.statusCode)
  if (missing === undefined && isExpected) return {}
  const text = command === 'HeadObjectCommand' ? undefined : await collect(response)
  throw unproven(response, isExpected ? `no header ${missing}` : `status ${wanted(proof)} is expected`, text)
}

async function proveRefusal(response: HttpResponse): Promise<ProvenAnswer> {
  const text = await collect(response)
  if (xmlRoot(text) === 'Error' && xmlElement(text, 'Code')) return { text }
  return { text, unproven: unproven(response, 'no error code', text) }
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

/** Reads the body as text, and puts it back for the client. */
async function collect(response: HttpResponse): Promise<string> {
  const { body } = response
  const bytes = body instanceof Uint8Array ? Buffer.from(body) : await readBody((body ?? Readable.from([])) as Readable)
  response.body = bytes
  return bytes.toString('utf8')
}

function unproven({ statusCode, headers }: HttpResponse, lacks: string, text: string | undefined): UnprovenAnswer {
  return new UnprovenAnswer('an S3', { status: statusCode, contentType: headers['content-type'], text }, lacks)
}
