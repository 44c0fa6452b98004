import type {
  GetObjectCommandInput,
  ListMultipartUploadsCommandInput,
  ListObjectsV2CommandInput,
  PutObjectCommandInput,
  UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { ByteString } from '../../util/byte-string.ts'
import { pgtsVersion } from '../../util/version.ts'
import type { HttpSend, HttpTarget } from '../http/send.ts'
import type { HttpResponse } from './proof.ts'
import { bucketUrl, s3Address, type S3Description } from './description.ts'
import type { FetchedKeys } from './keys/fetched-keys.ts'
import { uriEncodePath } from './names.ts'
import { queryString, RequestSigner } from './signature.ts'

/** The operations that pgts composes itself, with their methods. */
const METHODS = {
  PutObject: 'PUT',
  UploadPart: 'PUT',
  GetObject: 'GET',
  HeadObject: 'HEAD',
  DeleteObject: 'DELETE',
  DeleteObjects: 'POST',
  AbortMultipartUpload: 'DELETE',
  ListObjectsV2: 'GET',
  ListMultipartUploads: 'GET',
} as const

/** The query that selects an operation on the bucket. */
const SELECTORS: Partial<Record<DirectOperation, Readonly<Record<string, string>>>> = {
  DeleteObjects: { delete: '' },
  ListObjectsV2: { 'list-type': '2' },
  ListMultipartUploads: { uploads: '' },
}

export type DirectOperation = keyof typeof METHODS

type Inputs = PutObjectCommandInput &
  GetObjectCommandInput &
  UploadPartCommandInput &
  ListObjectsV2CommandInput &
  Pick<ListMultipartUploadsCommandInput, 'KeyMarker' | 'UploadIdMarker'>

/** Parameters with the names of AWS's library, and how they are sent. */
const HEADERS = {
  ContentLength: 'content-length',
  ContentMD5: 'content-md5',
  ChecksumAlgorithm: 'x-amz-sdk-checksum-algorithm',
  ChecksumCRC32: 'x-amz-checksum-crc32',
  IfMatch: 'if-match',
  IfNoneMatch: 'if-none-match',
  Range: 'range',
  RequestPayer: 'x-amz-request-payer',
  ServerSideEncryption: 'x-amz-server-side-encryption',
  SSEKMSKeyId: 'x-amz-server-side-encryption-aws-kms-key-id',
  SSECustomerAlgorithm: 'x-amz-server-side-encryption-customer-algorithm',
  SSECustomerKey: 'x-amz-server-side-encryption-customer-key',
  StorageClass: 'x-amz-storage-class',
  Tagging: 'x-amz-tagging',
} as const
const QUERY = {
  PartNumber: 'partNumber',
  UploadId: 'uploadId',
  VersionId: 'versionId',
  ContinuationToken: 'continuation-token',
  Delimiter: 'delimiter',
  EncodingType: 'encoding-type',
  KeyMarker: 'key-marker',
  UploadIdMarker: 'upload-id-marker',
  Prefix: 'prefix',
} as const

export type DirectInput = Partial<Pick<Inputs, keyof typeof HEADERS | keyof typeof QUERY>>

export interface DirectRequest {
  readonly operation: DirectOperation
  /** Name of the object (byte string); absent: the bucket itself. */
  readonly name?: ByteString
  readonly input: DirectInput
  readonly body?: {
    readonly bytes: Uint8Array
    /** Its SHA-256, or `UNSIGNED-PAYLOAD`. */
    readonly hash: string
  }
  readonly signal?: AbortSignal
}

export interface DirectAnswer extends HttpResponse {
  /** A refusal and XML have been read. */
  body: IncomingMessage
}

/**
 * Sends the frequent requests without AWS's client: it needs many times the CPU time for them. The requests equal those
 * of the client, with their signature.
 */
export class DirectSender {
  readonly #send: HttpSend
  readonly #signer: RequestSigner
  readonly #target: Omit<HttpTarget, 'path'>
  readonly #host: string
  /** Path of the bucket, without a slash at the end. */
  readonly #root: string

  constructor(description: S3Description, send: HttpSend) {
    const { host, pathname } = bucketUrl(description)
    this.#send = send
    this.#signer = new RequestSigner(description)
    // The signature is for the host in the Host header, also if another host is connected.
    this.#target = s3Address(description)
    this.#host = host
    this.#root = pathname === '/' ? '' : pathname
  }

  /** @param signingDate by the clock of the service */
  async send(
    { operation, name, input, body, signal }: DirectRequest,
    keys: FetchedKeys,
    signingDate: Date,
  ): Promise<DirectAnswer> {
    const headers = headersOf(input)
    headers['host'] = this.#host
    headers['user-agent'] = USER_AGENT
    if (body !== undefined) {
      headers['content-type'] = operation === 'DeleteObjects' ? 'application/xml' : 'application/octet-stream'
      headers['x-amz-content-sha256'] = body.hash
    }
    const method = METHODS[operation]
    const path = `${this.#root}/${name === undefined ? '' : uriEncodePath(name)}`
    const query = queryString(queryOf(operation, input))
    this.#signer.sign({ method, path, query, headers }, keys, signingDate)
    const target = { ...this.#target, path: query === '' ? path : `${path}?${query}` }
    const answer = await this.#send({ method, url: target, headers, body: body?.bytes, signal })
    return {
      statusCode: answer.statusCode ?? 0,
      // Only `set-cookie` can be a list.
      headers: answer.headers as Readonly<Record<string, string>>,
      body: answer,
    }
  }
}

const USER_AGENT = `pgts/${pgtsVersion}`

function headersOf(input: DirectInput): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [parameter, name] of Object.entries(HEADERS) as [keyof typeof HEADERS, string][]) {
    const value = input[parameter]
    if (value !== undefined) headers[name] = String(value)
  }
  const { SSECustomerKey: key } = input
  // The service checks with it that the key arrived unchanged.
  if (key !== undefined) {
    const digest = createHash('md5')
      .update(Buffer.from(String(key), 'base64'))
      .digest('base64')
    headers['x-amz-server-side-encryption-customer-key-md5'] = digest
  }
  return headers
}

function queryOf(operation: DirectOperation, input: DirectInput): Record<string, string> {
  const query: Record<string, string> = { ...SELECTORS[operation] }
  for (const [parameter, name] of Object.entries(QUERY) as [keyof typeof QUERY, string][]) {
    const value = input[parameter]
    if (value !== undefined) query[name] = String(value)
  }
  return query
}
