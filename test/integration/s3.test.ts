import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  PutObjectLockConfigurationCommand,
  S3Client as Aws,
} from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ObjectBody } from '../../src/storage/object/client.ts'
import { RetryableStoreError } from '../../src/storage/object/retryable-error.ts'
import { openS3Client, type S3Client } from '../../src/storage/s3/client.ts'
import type { S3Description } from '../../src/storage/s3/description.ts'
import { atPointInTime } from '../../src/storage/s3/point-in-time.ts'
import { textToBytes } from '../../src/util/byte-string.ts'
import { systemClock, type Clock } from '../../src/util/clock.ts'
import { s3ServerInstalled, STRANGER, type S3ServerAddress } from '../support/stores/s3-server.ts'
import { sharedStore } from '../support/stores/store-keeper.ts'
import { makeCertificates } from '../support/stores/tls.ts'
import { makeTestDir } from '../support/processes/test-user.ts'

const MIB = 1024 * 1024
const installed = s3ServerInstalled()

/** The S3 client on a real server, beyond the contract of every storage (test/contract/storage.test.ts). */
describe.skipIf(!installed)(`S3${installed ? '' : ' (left out: radosgw is not installed)'}`, () => {
  let server: S3ServerAddress
  let aws: Aws
  let plain: S3Description
  const bucket = `s3-${process.pid}`
  const opened: S3Client[] = []

  beforeAll(async () => {
    server = await sharedStore('s3')
    const { key, secret, region, host } = server
    aws = new Aws({
      endpoint: `http://${host}:${server.httpPort}`,
      forcePathStyle: true,
      region,
      credentials: { accessKeyId: key, secretAccessKey: secret },
      requestChecksumCalculation: 'WHEN_REQUIRED',
    })
    await aws.send(new CreateBucketCommand({ Bucket: bucket }))
    plain = {
      bucket,
      region,
      endpoint: { secure: true, uriStyle: 'path', host, port: server.httpsPort },
      service: 's3',
      keys: { type: 'shared', key, secret },
      access: { verifyTls: true, caFile: server.caFile, stallMs: 30_000 },
      requesterPays: false,
      partBytes: 5 * MIB,
      repository: 'repo1',
    }
  })

  afterAll(async () => {
    for (const client of opened) await client[Symbol.asyncDispose]()
    aws?.destroy()
  })

  async function open(more: Partial<S3Description> = {}, clock: Clock = systemClock): Promise<S3Client> {
    const client = await openS3Client({ ...plain, ...more }, clock)
    opened.push(client)
    return client
  }

  const inTheClear = () =>
    ({ secure: false, uriStyle: 'path', host: server.host, port: server.httpPort }) satisfies S3Description['endpoint']

  async function bytesOf(body: ObjectBody): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    for await (const chunk of body.chunks) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  async function listed(client: Pick<S3Client, 'list'>, prefix: string, delimiter?: '/') {
    const names: string[] = []
    let after: string | undefined
    do {
      const page = await client.list({
        prefix,
        delimiter,
        after,
      })
      names.push(...page.objects.map(({ name }) => name), ...page.prefixes)
      after = page.next
    } while (after !== undefined)
    return names.sort()
  }

  /** A moment between earlier and later writes, in the time of the service. */
  const moment = async (client: S3Client, name: string) => {
    const { mtimeMs } = (await client.head(name))!
    await sleep(mtimeMs + 1100 - Date.now())
    return mtimeMs + 1050
  }

  describe('object names', () => {
    // One character is one byte; S3 has names of UTF-8 text.
    const odd = [
      'a b',
      'a+b',
      'a%20b',
      'a%2Fb',
      '&<>"\'',
      '~!@#$^*()_+-={}[]|\\:;,?',
      '\x01\x1f\x7f',
      'tab\there',
      'line\nbreak\r',
      textToBytes('Ünïcödé 日本 😀'),
      'x'.repeat(900),
      "'; drop table --",
      'deep/er/and+er/%',
    ]

    test.each([
      ['TLS', (): Partial<S3Description> => ({})],
      ['plain HTTP', (): Partial<S3Description> => ({ endpoint: inTheClear() })],
    ])('may contain any byte in all operations over %s', async (how, more) => {
      const client = await open(more())
      const root = `names ${how}/`
      for (const name of odd) await client.put(root + name, Buffer.from(name, 'latin1'), { kind: 'data' })
      for (const name of odd) {
        expect(await client.head(root + name)).toMatchObject({ name: root + name, sizeBytes: name.length })
        expect((await bytesOf(await client.get(root + name))).toString('latin1')).toBe(name)
      }
      expect(await listed(client, root)).toEqual(odd.map((name) => root + name).sort())
      expect(await listed(client, `${root}deep/`, '/')).toEqual([`${root}deep/er/`])
      expect(await client.removeBatch([...odd.map((name) => root + name), `${root}absent`])).toEqual([])
      expect(await listed(client, root)).toEqual([])
    })

    test('are found with the bucket in the host name', async () => {
      const endpoint = { ...plain.endpoint, uriStyle: 'host', host: 'localhost', connectHost: '127.0.0.1' } as const
      const client = await open({ endpoint })
      await client.put('host-style', Buffer.from('x'), { kind: 'data' })
      expect(await listed(client, 'host-')).toEqual(['host-style'])
    })
  })

  describe('uploads in parts', () => {
    test.each([
      ['TLS', (): Partial<S3Description> => ({})],
      ['plain HTTP', (): Partial<S3Description> => ({ endpoint: inTheClear() })],
    ])('are complete, in order, and invisible before completion, over %s', async (how, more) => {
      const client = await open(more())
      const name = `parts ${how}`
      const parts = [randomBytes(5 * MIB), randomBytes(5 * MIB), randomBytes(1234)]
      const upload = await client.upload(name, { kind: 'data' })
      await Promise.all([2, 0, 1].map((index) => upload.part(index + 1, parts[index]!)))
      // A part may be sent again, also after a success.
      await upload.part(2, parts[1]!)
      expect(await client.head(name)).toBeUndefined()
      await upload.complete()
      const found = await bytesOf(await client.get(name))
      expect(createHash('sha256').update(found).digest('hex')).toBe(
        createHash('sha256').update(Buffer.concat(parts)).digest('hex'),
      )
      // The first answer was lost: the request is repeated for an upload that no longer exists.
      await upload.complete()
      await client.removeBatch([name])
      await expect(upload.complete()).rejects.toThrow()
      await upload.abort()
    })

    test('with a gap between parts fail with an assert error', async () => {
      const upload = await (await open()).upload('gap', { kind: 'data' })
      await upload.part(2, randomBytes(1000))
      await expect(upload.complete()).rejects.toMatchObject({ code: 'assert' })
      await upload.abort()
      await upload.abort()
    })

    test('of a crash are aborted; newer ones and those below another prefix are not', async () => {
      const client = await open()
      for (const name of ['crash/old', 'crash/+ odd', 'crashed']) {
        await aws.send(new CreateMultipartUploadCommand({ Bucket: bucket, Key: name }))
      }
      expect(await client.abortAbandoned('crash/', Date.now() - 3_600_000)).toBe(0)
      expect(await client.abortAbandoned('crash/', Date.now() + 3_600_000)).toBe(2)
      expect(await client.abortAbandoned('crash/', Date.now() + 3_600_000)).toBe(0)
      expect(await client.abortAbandoned('crashed', Date.now() + 3_600_000)).toBe(1)
    })
  })

  test('one of many concurrent conditional creations succeeds', async () => {
    const client = await open()
    const bodies = Array.from({ length: 12 }, (_, index) => Buffer.from(`body ${index}`))
    const won = await Promise.all(bodies.map((body) => client.putIfAbsent('race', body, { kind: 'info' })))
    expect(won.filter(Boolean)).toHaveLength(1)
    expect(await bytesOf(await client.get('race'))).toEqual(bodies[won.indexOf(true)])
  })

  describe('a range of an object', () => {
    const content = Buffer.from('0123456789')
    test.each([
      [{ offset: 3, length: 4 }, '3456'],
      [{ offset: 7 }, '789'],
      [{ length: 2 }, '01'],
      [{ offset: 8, length: 10 }, '89'],
      [{ offset: 10, length: 1 }, ''],
      [{ offset: 99 }, ''],
      [{}, '0123456789'],
    ])('%j', async (range, expected) => {
      const client = await open()
      await client.put('ranges', content, { kind: 'data' })
      const body = await client.get('ranges', range)
      expect(body.sizeBytes).toBe(expected.length)
      expect((await bytesOf(body)).toString()).toBe(expected)
    })

    test('is refused when the object was replaced during the read', async () => {
      const client = await open()
      await client.put('replaced', content, { kind: 'data' })
      const { version, cancel } = await client.get('replaced', { length: 2 })
      cancel()
      expect(version).toBeDefined()
      await client.put('replaced', Buffer.from('abcdefghij'), { kind: 'data' })
      const again = client.get('replaced', { offset: 2, version: version! })
      await expect(again).rejects.toMatchObject({ code: 'file-read', message: expect.stringContaining('replaced') })
    })
  })

  test('a listing of more than a thousand names has several pages, and a thousand names are removed in one batch', async () => {
    const client = await open()
    const names = Array.from({ length: 1100 }, (_, index) => `many/${String(index).padStart(4, '0')}`)
    const waiting = names.values()
    const worker = async () => {
      for (const name of waiting) await client.put(name, Buffer.from(name), { kind: 'data' })
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    expect(await listed(client, 'many/')).toEqual(names)
    expect(await client.removeBatch(names.slice(0, 1000))).toEqual([])
    expect(await listed(client, 'many/')).toEqual(names.slice(1000))
  }, 120_000)

  test('objects have tags, and are encrypted with a customer key', async () => {
    const customerKey = randomBytes(32).toString('base64')
    const client = await open({ encryption: { customerKey }, tags: { team: 'data base', 'a&b': 'ü=1' } })
    await client.put('secret', Buffer.from('content'), { kind: 'data' })
    expect((await bytesOf(await client.get('secret'))).toString()).toBe('content')
    expect(await client.head('secret')).toMatchObject({ sizeBytes: 7 })
    const upload = await client.upload('secret parts', { kind: 'data' })
    await upload.part(1, Buffer.from('in parts'))
    await upload.complete()
    expect((await bytesOf(await client.get('secret parts', { offset: 3 }))).toString()).toBe('parts')
    const { TagSet } = await aws.send(new GetObjectTaggingCommand({ Bucket: bucket, Key: 'secret' }))
    expect(new Map(TagSet!.map(({ Key, Value }) => [Key, Value]))).toEqual(
      new Map([
        ['team', 'data base'],
        ['a&b', 'ü=1'],
      ]),
    )
    // Without the key the service refuses the read.
    await expect(aws.send(new HeadObjectCommand({ Bucket: bucket, Key: 'secret' }))).rejects.toThrow()
  })

  test('backup data and WAL have the configured storage class; info files and manifests have the default', async () => {
    const client = await open({ storageClass: { data: 'COLD', wal: 'COOL' } })
    for (const kind of ['data', 'wal'] as const) {
      const put = client.put(`class/${kind}`, Buffer.from('x'), { kind })
      // This server does not have the class and refuses it, which shows that it was sent.
      await expect(put).rejects.toMatchObject({
        message: expect.stringMatching(/class|InvalidStorageClass|InvalidArgument/i),
      })
    }
    for (const kind of ['info', 'manifest'] as const) await client.put(`class/${kind}`, Buffer.from('x'), { kind })
    expect(await listed(client, 'class/')).toEqual(['class/info', 'class/manifest'])
  })

  describe('a bucket with versions at a point in time', () => {
    const versioned = `${bucket}-versions`
    const put = async (name: string, text: string) => {
      await aws.send(new PutObjectCommand({ Bucket: versioned, Key: name, Body: text }))
    }
    test('is read and listed with the objects of that time', async () => {
      await aws.send(new CreateBucketCommand({ Bucket: versioned }))
      const configuration = { Status: 'Enabled' } as const
      await aws.send(new PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration: configuration }))
      const now = await open({ bucket: versioned })
      const before = Date.now() - 60_000
      await put('dir/changed', 'old')
      await put('dir/removed', 'gone')
      await put('dir/removed.longer', 'stays')
      await put('dir/+ é\x01', 'odd')
      const then = await moment(now, 'dir/removed.longer')
      await put('dir/changed', 'newer')
      await put('dir/changed', 'newest')
      await put('dir/late', 'too late')
      expect(await now.removeBatch(['dir/removed'])).toEqual([])

      const past = atPointInTime(now, then)
      expect(await listed(past, 'dir/')).toEqual([
        textToBytes('dir/+ é\x01'),
        'dir/changed',
        'dir/removed',
        'dir/removed.longer',
      ])
      expect((await bytesOf(await past.get('dir/changed', { offset: 1 }))).toString()).toBe('ld')
      expect((await bytesOf(await past.get('dir/removed'))).toString()).toBe('gone')
      expect(await atPointInTime(now, then).head('dir/changed')).toMatchObject({ sizeBytes: 3 })
      expect(await atPointInTime(now, then).head('dir/late')).toBeUndefined()
      expect(await atPointInTime(now, then).head('dir/remove')).toBeUndefined()
      await expect(atPointInTime(now, then).get('dir/late')).rejects.toMatchObject({ code: 'file-missing' })
      await expect(past.put('x', Buffer.from('x'), { kind: 'data' })).rejects.toMatchObject({ code: 'assert' })
      expect(await listed(atPointInTime(now, before), 'dir/')).toEqual([])
      // A removal has its time, too.
      expect(await atPointInTime(now, Date.now() + 60_000).head('dir/removed')).toBeUndefined()
      expect(await listed(atPointInTime(now, Date.now() + 60_000), 'dir/')).toEqual(await listed(now, 'dir/'))
    })

    test('has the right version among more versions than one page holds', async () => {
      const now = await open({ bucket: versioned })
      await put('long', 'first')
      await put('longer', 'on the next page')
      const then = await moment(now, 'longer')
      // Each removal leaves a delete marker, which is a version, too.
      expect(await now.removeBatch(new Array<string>(1000).fill('long'))).toEqual([])
      await put('long', 'last')
      expect(await listed(atPointInTime(now, then), 'long')).toEqual(['long', 'longer'])
      expect((await bytesOf(await atPointInTime(now, then).get('long'))).toString()).toBe('first')
      const later = atPointInTime(now, Date.now() + 60_000)
      expect(await listed(later, 'long')).toEqual(['long', 'longer'])
      expect((await bytesOf(await later.get('long'))).toString()).toBe('last')
    })
  })

  describe('an error of S3', () => {
    const look = (client: S3Client) => client.head('x')

    test('for a missing bucket names the bucket', async () => {
      const client = await open({ bucket: 'no-such-bucket' })
      const refused = { code: 'path-missing', message: expect.stringContaining('bucket no-such-bucket does not exist') }
      await expect(client.list({ prefix: '' })).rejects.toMatchObject(refused)
      await expect(client.put('x', Buffer.from('x'), { kind: 'data' })).rejects.toMatchObject(refused)
      await expect(client.get('x')).rejects.toMatchObject(refused)
    })

    test('for an unknown host is final; for a closed port it is retryable', async () => {
      const endpoint = { secure: true, uriStyle: 'path', host: 'nowhere.invalid' } as const
      const error = (await look(await open({ endpoint })).catch((thrown: unknown) => thrown)) as Error
      expect(error).toMatchObject({ message: expect.stringContaining('host name') })
      const refused = { ...plain.endpoint, port: 1 }
      await expect(look(await open({ endpoint: refused }))).rejects.toBeInstanceOf(RetryableStoreError)
    })

    test('for a missing object is file-missing', async () => {
      await expect((await open()).get('absent')).rejects.toMatchObject({ code: 'file-missing' })
    })

    test('for the keys of another user names the missing permission, also if HEAD has no reason', async () => {
      const client = await open({ keys: { type: 'shared', ...STRANGER } })
      const denied = (permission: string) => ({
        code: 'access',
        message: expect.stringContaining('access denied (AccessDenied)'),
        hints: expect.arrayContaining([expect.stringContaining(permission)]),
      })
      await expect(look(client)).rejects.toMatchObject(denied('s3:GetObject'))
      await expect(client.put('x', Buffer.from('x'), { kind: 'data' })).rejects.toMatchObject(denied('s3:PutObject'))
      await expect(client.list({ prefix: '' })).rejects.toMatchObject(denied('s3:ListBucket'))
      await expect(client.removeBatch(['a', 'b'])).rejects.toMatchObject(denied('s3:DeleteObject'))
    })

    test('for a wrong secret or an unknown key is an access error', async () => {
      const { key } = server
      const wrong = await open({ keys: { type: 'shared', key, secret: 'wrong' } })
      await expect(look(wrong)).rejects.toMatchObject({
        code: 'access',
        message: expect.stringContaining('the signature does not match'),
      })
      const unknown = await open({ keys: { type: 'shared', key: 'nobody', secret: 'wrong' } })
      const error = await look(unknown).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'access', message: expect.stringContaining('does not know this key') })
      expect(JSON.stringify(error)).not.toContain('wrong')
    })

    test('for a clock that is wrong by an hour has both times', async () => {
      const late: Clock = { ...systemClock, nowMs: () => Date.now() - 3_600_000 }
      await expect(look(await open({}, late))).rejects.toMatchObject({
        code: 'clock',
        message: expect.stringMatching(/the clocks differ too much: store .*, this host .*/),
      })
    })

    test('objects under object lock are written, and their versions survive a removal', async () => {
      const locked = `${bucket}-locked`
      await aws.send(new CreateBucketCommand({ Bucket: locked, ObjectLockEnabledForBucket: true }))
      const rule = { DefaultRetention: { Mode: 'COMPLIANCE', Days: 1 } } as const
      await aws.send(
        new PutObjectLockConfigurationCommand({
          Bucket: locked,
          ObjectLockConfiguration: { ObjectLockEnabled: 'Enabled', Rule: rule },
        }),
      )
      const client = await open({ bucket: locked })
      // Objects that are locked after the write, in one request and in parts.
      await client.put('x', Buffer.from('kept'), { kind: 'data' })
      const upload = await client.upload('parts', { kind: 'data' })
      await upload.part(1, Buffer.from('kept'))
      await upload.complete()
      const then = await moment(client, 'parts')
      // A removal without a version only hides the object: its versions exist.
      expect(await client.removeBatch(['x'])).toEqual([])
      expect(await client.head('x')).toBeUndefined()
      expect((await bytesOf(await atPointInTime(client, then).get('x'))).toString()).toBe('kept')
    })
  })

  describe('certificates of S3', () => {
    test('of an unknown authority are refused, with the option that sets the authority', async () => {
      const { verifyTls, stallMs } = plain.access
      const stranger = makeCertificates(`${makeTestDir('s3-tls')}/other`)
      for (const access of [
        { verifyTls, stallMs },
        { verifyTls, stallMs, caFile: stranger.caFile },
      ]) {
        const error = (await (await open({ access })).head('x').catch((thrown: unknown) => thrown)) as Error
        expect(error).toMatchObject({ message: expect.stringContaining('certificate') })
        expect(error).toMatchObject({ hints: [expect.stringContaining('repo1-storage-ca-file')] })
      }
    })

    test('are not checked with storage-verify-tls=n', async () => {
      const client = await open({ access: { verifyTls: false, stallMs: 30_000 } })
      expect(await client.head('absent')).toBeUndefined()
    })
  })
})
