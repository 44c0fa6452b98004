import type {
  GetObjectCommandInput,
  ListMultipartUploadsCommandInput,
  ListObjectsV2CommandInput,
  PutObjectCommandInput,
  UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { HttpRequest } from '@smithy/core/protocols'
import { Hash } from '@smithy/core/serde'
import type { NodeHttpHandler } from '@smithy/node-http-handler'
import { SignatureV4 } from '@smithy/signature-v4'
import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import type { ByteString } from '../../util/byte-string.ts'
import { pgtsVersion } from '../../util/version.ts'
import type { Agents } from '../http/agents.ts'
import type { HttpResponse } from './proof.ts'
import { bracketed, bucketUrl, type S3Description } from './description.ts'
import { httpHandler, type KeysProvider } from './library.ts'
import { uriEncodePath } from './names.ts'

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
    /** Called for each attempt: a stream can be sent only once. */
    readonly bytes: () => Uint8Array | Readable
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
 * Sends the frequent requests of one object without the middleware of AWS's client, by its signer and its HTTP handler:
 * the client needs four times the CPU time for them. The requests equal those of the client.
 */
export class DirectSender {
  readonly #handler: NodeHttpHandler
  readonly #signer: SignatureV4
  readonly #url: { readonly protocol: string; readonly hostname: string; readonly port?: number }
  readonly #host: string
  /** Path of the bucket, without a slash at the end. */
  readonly #root: string

  constructor(description: S3Description, agents: Agents, keys: KeysProvider) {
    const { region, service, endpoint } = description
    const { protocol, host, hostname, port, pathname } = bucketUrl(description)
    this.#handler = httpHandler(description, agents)
    this.#signer = new SignatureV4({
      region,
      service,
      credentials: keys,
      sha256: Hash.bind(null, 'sha256'),
      uriEscapePath: false,
    })
    // The signature is for the host in the Host header, also if another host is connected.
    const { connectHost } = endpoint
    this.#url = {
      protocol,
      hostname: connectHost === undefined ? hostname : bracketed(connectHost),
      port: port === '' ? undefined : Number(port),
    }
    this.#host = host
    this.#root = pathname === '/' ? '' : pathname
  }

  /** @param signingDate by the clock of the service */
  async send({ operation, name, input, body, signal }: DirectRequest, signingDate: Date): Promise<DirectAnswer> {
    const headers = headersOf(input)
    headers['host'] = this.#host
    headers['user-agent'] = USER_AGENT
    if (body !== undefined) {
      headers['content-type'] = operation === 'DeleteObjects' ? 'application/xml' : 'application/octet-stream'
      headers['x-amz-content-sha256'] = body.hash
    }
    const request = new HttpRequest({
      ...this.#url,
      method: METHODS[operation],
      path: `${this.#root}/${name === undefined ? '' : uriEncodePath(name)}`,
      query: queryOf(operation, input),
      headers,
      body: body?.bytes(),
    })
    const signed = await this.#signer.sign(request, { signingDate })
    const { response } = await this.#handler.handle(signed as HttpRequest, { abortSignal: signal })
    const answer = response as DirectAnswer
    // Avoids an uncaught error of the socket; the reader of the body still receives it.
    answer.body.on('error', () => undefined)
    return answer
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
