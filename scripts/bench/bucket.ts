import {
  CreateBucketCommand,
  DeleteObjectsCommand,
  paginateListObjectsV2,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { giveToTestUser } from '../../test/support/postgres/postgres.ts'
import type { S3ServerAddress } from '../../test/support/stores/s3-server.ts'
import { hex, walTimesFiles } from './wal-times.ts'

/** Concurrent requests of preparations, which are not measured. */
const AT_ONCE = 16

/** The bucket of both programs, accessed without the slow network. */
export class BenchBucket {
  private constructor(
    readonly server: S3ServerAddress,
    readonly name: string,
    readonly client: S3Client,
    readonly signal: AbortSignal,
  ) {}

  static async create(server: S3ServerAddress, name: string, signal: AbortSignal): Promise<BenchBucket> {
    const client = new S3Client({
      endpoint: `http://${server.host}:${server.httpPort}`,
      forcePathStyle: true,
      region: server.region,
      credentials: { accessKeyId: server.key, secretAccessKey: server.secret },
      requestChecksumCalculation: 'WHEN_REQUIRED',
    })
    await client.send(new CreateBucketCommand({ Bucket: name }))
    giveToTestUser(server.caFile)
    return new BenchBucket(server, name, client, signal)
  }

  /** Options of both programs; pgbackrest 2.45 does not accept addresses in certificates, so the host has a name. */
  options(port: number): Record<string, string> {
    return {
      'repo1-type': 's3',
      'repo1-s3-bucket': this.name,
      'repo1-s3-endpoint': 'localhost',
      'repo1-s3-region': this.server.region,
      'repo1-s3-key': this.server.key,
      'repo1-s3-key-secret': this.server.secret,
      'repo1-s3-uri-style': 'path',
      'repo1-storage-host': 'localhost',
      'repo1-storage-port': String(port),
      'repo1-storage-ca-file': this.server.caFile,
    }
  }

  async remove(prefix: string): Promise<void> {
    for await (const { Contents = [] } of paginateListObjectsV2(
      { client: this.client },
      { Bucket: this.name, Prefix: prefix },
    )) {
      const Objects = Contents.map(({ Key }) => ({ Key }))
      if (Objects.length > 0)
        await this.client.send(new DeleteObjectsCommand({ Bucket: this.name, Delete: { Objects, Quiet: true } }))
    }
  }

  /** Create this many small objects below a prefix that ends with '/'. */
  async fill(prefix: string, count: number): Promise<void> {
    await this.#putEach(count, (i) => `${prefix}${Math.floor(i / 1000)}/${i}.zst`)
  }

  /** Create one segment in each of this many directories of an archive. */
  async fillArchive(prefix: string, directories: number): Promise<void> {
    await this.#putEach(directories, (i) => {
      const directory = `00000001${hex(i)}`
      return `${prefix}${directory}/${directory}${hex(i % 256)}-${'0'.repeat(40)}.zst`
    })
  }

  /** Create the files of commit times for an archive of this many directories. */
  async fillTimes(prefix: string, directories: number): Promise<void> {
    for (const [name, Body] of walTimesFiles(directories))
      await this.client.send(new PutObjectCommand({ Bucket: this.name, Key: `${prefix}${name}`, Body }))
  }

  async #putEach(count: number, nameOf: (i: number) => string): Promise<void> {
    let next = 0
    const putter = async () => {
      for (let i = next++; i < count; i = next++) {
        this.signal.throwIfAborted()
        await this.client.send(new PutObjectCommand({ Bucket: this.name, Key: nameOf(i), Body: `object ${i}` }))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, putter))
  }
}
