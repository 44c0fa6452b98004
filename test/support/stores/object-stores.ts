import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BlobServiceClient, newPipeline, StorageSharedKeyCredential } from '@azure/storage-blob'
import { CreateBucketCommand, ListMultipartUploadsCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3'
import { openAzureClient } from '../../../src/storage/azure/client.ts'
import { openGcsClient } from '../../../src/storage/gcs/client.ts'
import type { HttpAccess } from '../../../src/storage/http/agents.ts'
import type { ObjectClient } from '../../../src/storage/object/client.ts'
import { openS3Client } from '../../../src/storage/s3/client.ts'
import { systemClock } from '../../../src/util/clock.ts'
import { GcsServer } from './gcs-server.ts'
import { s3ServerInstalled } from './s3-server.ts'
import { sharedStore } from './store-keeper.ts'
import { giveToTestUser, makeTestDir } from '../processes/test-user.ts'
import { makeCertificates } from './tls.ts'

export type StoreName = 's3' | 'azure' | 'gcs'

/** Address of a store: its own port, or that of a proxy. */
export interface Via {
  readonly port: number
  /** Certificate authority of the proxy, if it uses TLS itself. */
  readonly caFile?: string
  /** Another bucket, which may be missing. */
  readonly bucket?: string
}

/** A new and empty bucket on a server of the run. */
export interface Bucket {
  readonly store: StoreName
  readonly name: string
  /** Ports of the server on 127.0.0.1; not every server listens in plain HTTP, too. */
  readonly port: { readonly tls: number; readonly plain?: number }
  /** Of the authority that signed the server's certificate. */
  readonly caFile: string
  /** The client of pgts, as the driver opens it, in TLS. */
  client(via?: Via): Promise<ObjectClient>
  /** Options of a repository in this bucket, with names that pgts and pgbackrest share. */
  options(via?: Via): Record<string, string>
  /** Sizes by name of all objects, not read by the client of pgts. */
  objects(): Promise<Map<string, number>>
  /** Names of objects whose upload is not completed. */
  openUploads(): Promise<string[]>
}

export interface StoreUnderTest {
  readonly name: StoreName
  /** Why its tests are skipped; undefined: they are not. */
  readonly missing: string | undefined
  /** @param options where `versioning` can be had here (gcs), removed and replaced objects are kept */
  bucket(options?: { readonly versioning?: boolean }): Promise<Bucket>
}

const HOST = '127.0.0.1'
const PART_BYTES = 5 * 1024 * 1024

/** Different in every file of a run, because the files share the servers. */
function newName(): string {
  return `bucket-${process.pid}-${++names}`
}
let names = 0

function access(caFile: string): HttpAccess {
  return { verifyTls: true, caFile, stallMs: 30_000 }
}

export const objectStores: readonly StoreUnderTest[] = [
  { name: 's3', missing: s3ServerInstalled() ? undefined : 'radosgw is not installed', bucket: s3Bucket },
  { name: 'azure', missing: undefined, bucket: azureBucket },
  { name: 'gcs', missing: undefined, bucket: gcsBucket },
]

/** For `describe.skipIf`, and its name: a skipped test shows the reason. */
export function titleOf({ name, missing }: StoreUnderTest): string {
  return missing === undefined ? name : `${name} (left out: ${missing})`
}

async function s3Bucket(): Promise<Bucket> {
  const server = await sharedStore('s3')
  const name = newName()
  const { key, secret, region } = server
  const aws = new S3Client({
    endpoint: `http://${HOST}:${server.httpPort}`,
    forcePathStyle: true,
    region,
    credentials: { accessKeyId: key, secretAccessKey: secret },
    requestChecksumCalculation: 'WHEN_REQUIRED',
  })
  await aws.send(new CreateBucketCommand({ Bucket: name }))
  const tls = { port: server.httpsPort, caFile: server.caFile }
  return {
    store: 's3',
    name,
    port: { tls: server.httpsPort, plain: server.httpPort },
    caFile: server.caFile,
    client: ({ port, caFile = server.caFile, bucket = name }: Via = tls) =>
      openS3Client(
        {
          bucket,
          region,
          endpoint: { secure: true, uriStyle: 'path', host: HOST, port },
          service: 's3',
          keys: { type: 'shared', key, secret },
          access: access(caFile),
          requesterPays: false,
          partBytes: PART_BYTES,
          repository: 'repo1',
        },
        systemClock,
      ),
    options: ({ port, caFile = server.caFile } = tls) => ({
      'repo1-type': 's3',
      'repo1-path': '/repo',
      'repo1-s3-bucket': name,
      'repo1-s3-endpoint': HOST,
      'repo1-s3-region': region,
      'repo1-s3-key': key,
      'repo1-s3-key-secret': secret,
      'repo1-s3-uri-style': 'path',
      'repo1-storage-host': HOST,
      'repo1-storage-port': String(port),
      'repo1-storage-ca-file': caFile,
    }),
    async objects() {
      const sizes = new Map<string, number>()
      for await (const page of paginateListObjectsV2({ client: aws }, { Bucket: name }))
        for (const { Key = '', Size = 0 } of page.Contents ?? []) sizes.set(Key, Size)
      return sizes
    },
    async openUploads() {
      const { Uploads = [] } = await aws.send(new ListMultipartUploadsCommand({ Bucket: name }))
      return Uploads.map(({ Key = '' }) => Key)
    },
  }
}

async function azureBucket(): Promise<Bucket> {
  const server = await sharedStore('azure')
  const name = newName()
  const { account, key } = server
  // `tlsOptions` is passed to the HTTP client, although its type does not have it.
  const trusting = { userAgentOptions: {}, tlsOptions: { ca: readFileSync(server.caFile) } }
  const container = new BlobServiceClient(
    `https://${HOST}:${server.port}/${account}`,
    newPipeline(new StorageSharedKeyCredential(account, key), trusting),
  ).getContainerClient(name)
  await container.create()
  const tls = { port: server.port, caFile: server.caFile }
  return {
    store: 'azure',
    name,
    port: { tls: server.port },
    caFile: server.caFile,
    client: async ({ port, caFile = server.caFile, bucket = name }: Via = tls) =>
      openAzureClient({
        account,
        container: bucket,
        serviceUrl: `https://${HOST}:${port}/${account}`,
        credential: { type: 'shared', key },
        access: access(caFile),
        partBytes: PART_BYTES,
        repository: 'repo1',
      }),
    options: ({ port, caFile = server.caFile } = tls) => ({
      'repo1-type': 'azure',
      'repo1-path': '/repo',
      'repo1-azure-account': account,
      'repo1-azure-container': name,
      'repo1-azure-key': key,
      'repo1-azure-uri-style': 'path',
      'repo1-storage-host': HOST,
      'repo1-storage-port': String(port),
      'repo1-storage-ca-file': caFile,
    }),
    async objects(): Promise<Map<string, number>> {
      const sizes = new Map<string, number>()
      for await (const blob of container.listBlobsFlat()) sizes.set(blob.name, blob.properties.contentLength ?? 0)
      return sizes
    },
    async openUploads() {
      const names = async (options = {}) => {
        const all: string[] = []
        for await (const { name } of container.listBlobsFlat(options)) all.push(name)
        return all
      }
      // In this order, so that an upload that is committed in between is not listed.
      const all = await names({ includeUncommitedBlobs: true })
      const committed = new Set(await names())
      return all.filter((each) => !committed.has(each))
    },
  }
}

/** In this process; one for each test file. */
let gcs: Promise<{ server: GcsServer; dir: string; caFile: string }> | undefined

async function startGcs() {
  const dir = makeTestDir('gcs')
  const certificates = makeCertificates(join(dir, 'tls'))
  return { server: await GcsServer.start(certificates), dir, caFile: certificates.caFile }
}

async function gcsBucket({ versioning = false } = {}): Promise<Bucket> {
  const { server, dir, caFile: itsCaFile } = await (gcs ??= startGcs())
  const name = newName()
  const objects = server.createBucket(name, { versioning })
  const keyFile = (port: number) => {
    const path = join(dir, `key-${port}.json`)
    writeFileSync(path, server.keyFile(port), { mode: 0o600 })
    giveToTestUser(path)
    return path
  }
  const tls = { port: server.httpsPort, caFile: itsCaFile }
  return {
    store: 'gcs',
    name,
    port: { tls: server.httpsPort, plain: server.httpPort },
    caFile: itsCaFile,
    client: ({ port, caFile = itsCaFile, bucket = name }: Via = tls) =>
      openGcsClient({
        bucket,
        serviceUrl: `https://${HOST}:${port}`,
        credential: { type: 'service', keyFile: keyFile(port) },
        access: access(caFile),
        partBytes: PART_BYTES,
        repository: 'repo1',
      }),
    options: ({ port, caFile = itsCaFile } = tls) => ({
      'repo1-type': 'gcs',
      'repo1-path': '/repo',
      'repo1-gcs-bucket': name,
      'repo1-gcs-endpoint': `${HOST}:${port}`,
      'repo1-gcs-key': keyFile(port),
      'repo1-gcs-key-type': 'service',
      'repo1-storage-ca-file': caFile,
    }),
    objects: async () => new Map(objects.live().map(({ name, bytes }) => [name, bytes.length])),
    openUploads: async () => server.openUploads(name),
  }
}
