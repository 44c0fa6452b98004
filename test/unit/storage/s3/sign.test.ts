import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { canonicalQuery, EMPTY_PAYLOAD_HASH, Signer } from '../../../../src/storage/s3/sign.ts'
import { uriDecode, uriEncode, uriEncodePath } from '../../../../src/storage/s3/uri-encode.ts'
import { textToBytes } from '../../../../src/util/byte-string.ts'

const KEYS = { id: 'AKIAIOSFODNN7EXAMPLE', secret: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
const SCOPE = { region: 'us-east-1', service: 's3' }

/** The examples of AWS's documentation, "Signature Calculations for the Authorization Header". */
describe('the published examples', () => {
  const at = Date.parse('2013-05-24T00:00:00Z')
  const host = 'examplebucket.s3.amazonaws.com'
  const sign = (
    method: string,
    path: string,
    query: [string, string][],
    more = {},
    payloadHash = EMPTY_PAYLOAD_HASH,
  ) => {
    const request = { method, path, query: canonicalQuery(query), headers: { host, ...more }, payloadHash }
    return new Signer(SCOPE).sign(request, KEYS, at)
  }

  test('GET with a range', () => {
    expect(sign('GET', '/test.txt', [], { range: 'bytes=0-9' })['authorization']).toBe(
      'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, ' +
        'SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, ' +
        'Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
    )
  })

  test('PUT with a body and a name that is escaped', () => {
    const more = { date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' }
    const hash = '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072'
    expect(sign('PUT', uriEncodePath('/test$file.text'), [], more, hash)['authorization']).toContain(
      'Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
    )
  })

  test.each([
    [[['lifecycle', '']], 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'],
    [
      [
        ['prefix', 'J'],
        ['max-keys', '2'],
      ],
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ],
  ] as [[string, string][], string][])('GET with the query %j', (query, signature) => {
    expect(sign('GET', '/', query)['authorization']).toContain(`Signature=${signature}`)
  })
})

interface Captured {
  readonly method: string
  readonly path: string
  readonly query: Record<string, string>
  readonly headers: Record<string, string>
}

/** A request as AWS's own client would send it. */
async function captured(token: string | undefined, send: (client: S3Client) => Promise<unknown>): Promise<Captured> {
  let request: Captured | undefined
  const stop = new Error('captured')
  const client = new S3Client({
    region: SCOPE.region,
    endpoint: 'https://store.example',
    forcePathStyle: true,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    credentials: {
      accessKeyId: KEYS.id,
      secretAccessKey: KEYS.secret,
      ...(token === undefined ? {} : { sessionToken: token }),
    },
    requestHandler: {
      handle: (given: Captured) => {
        request = given
        return Promise.reject(stop)
      },
    },
  })
  await send(client).catch((error: unknown) => {
    if (error !== stop) throw error
  })
  return request!
}

/** What our signer makes of the same request. */
function ours({ method, path, query, headers }: Captured, token: string | undefined): string {
  const signed = /SignedHeaders=([^,]*)/.exec(headers['authorization']!)![1]!.split(';')
  const given = Object.fromEntries(Object.entries(headers).filter(([name]) => signed.includes(name)))
  const at = headers['x-amz-date']!.replace(/(....)(..)(..T..)(..)(..Z)/, '$1-$2-$3:$4:$5')
  const request = {
    method,
    path,
    query: canonicalQuery(Object.entries(query).map(([name, value]) => [textToBytes(name), textToBytes(value)])),
    headers: given,
    payloadHash: headers['x-amz-content-sha256']!,
  }
  const keys = token === undefined ? KEYS : { ...KEYS, token }
  return new Signer(SCOPE).sign(request, keys, Date.parse(at))['authorization']!
}

const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }).filter((value) => isText(value))
const objectName = text.filter((name) => !name.startsWith('/') && !/(^|\/)\.\.?(\/|$)/.test(name))
const token = fc.option(fc.stringMatching(/^[A-Za-z0-9+/=]{1,60}$/), { nil: undefined })

describe("what AWS's own client signs", () => {
  test('any name: the same path and the same signature', async () => {
    await fc.assert(
      fc.asyncProperty(objectName, token, async (name, session) => {
        const request = await captured(session, (client) =>
          client.send(new GetObjectCommand({ Bucket: 'bucket', Key: name, Range: 'bytes=5-9' })),
        )
        expect(request.path).toBe(uriEncodePath(`/bucket/${textToBytes(name)}`))
        expect(ours(request, session)).toBe(request.headers['authorization'])
      }),
      { numRuns: 100 },
    )
  })

  test('any prefix and marker: the same signature', async () => {
    await fc.assert(
      fc.asyncProperty(text, text, async (prefix, marker) => {
        const command = { Bucket: 'bucket', Prefix: prefix, ContinuationToken: marker, EncodingType: 'url' } as const
        const request = await captured(undefined, (client) => client.send(new ListObjectsV2Command(command)))
        expect(ours(request, undefined)).toBe(request.headers['authorization'])
      }),
      { numRuns: 100 },
    )
  })

  test('a body, tags and encryption: the same signature', async () => {
    const request = await captured('session', (client) =>
      client.send(
        new PutObjectCommand({
          Bucket: 'bucket',
          Key: 'a b',
          Body: Buffer.from('content'),
          Tagging: 'a%20b=c&d=e',
          ServerSideEncryption: 'aws:kms',
          SSEKMSKeyId: 'arn:aws:kms:us-east-1:1:key/2',
        }),
      ),
    )
    expect(ours(request, 'session')).toBe(request.headers['authorization'])
  })
})

test('the key of a day is made anew for other keys and for the next day', () => {
  const signer = new Signer(SCOPE)
  const request = { method: 'GET', path: '/', query: '', headers: { host: 'h' }, payloadHash: EMPTY_PAYLOAD_HASH }
  const at = (secret: string, time: string) =>
    signer.sign(request, { id: 'i', secret }, Date.parse(time))['authorization']
  const fresh = (secret: string, time: string) =>
    new Signer(SCOPE).sign(request, { id: 'i', secret }, Date.parse(time))['authorization']
  for (const [secret, time] of [
    ['a', '2026-01-01T23:59:59Z'],
    ['b', '2026-01-01T23:59:59Z'],
    ['b', '2026-01-02T00:00:00Z'],
  ] as const)
    expect(at(secret, time)).toBe(fresh(secret, time))
})

describe('escapes', () => {
  test('every byte is escaped, but what need not be', () => {
    const all = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join('')
    expect(decodeURIComponent(uriEncode(all.slice(0, 128)))).toBe(all.slice(0, 128))
    expect(uriEncode('Az09-._~')).toBe('Az09-._~')
    expect(uriEncode('/ +*\xe9\0')).toBe('%2F%20%2B%2A%E9%00')
    expect(uriEncodePath('a/b c')).toBe('a/b%20c')
    expect(uriDecode(uriEncode(all))).toBe(all)
  })

  test('listings write a space as a plus', () => {
    expect(uriDecode('a+b%2Bc%25/d')).toBe('a b+c%/d')
    expect(uriDecode('100%')).toBe('100%')
  })
})

/** Without half surrogate pairs. */
function isText(value: string): boolean {
  return Buffer.from(value).toString() === value
}
