import { Hash } from '@smithy/core/serde'
import { HttpRequest } from '@smithy/core/protocols'
import { SignatureV4 } from '@smithy/signature-v4'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { uriEncodePath } from '../../src/storage/s3/names.ts'
import { queryString, RequestSigner } from '../../src/storage/s3/signature.ts'
import { textToBytes } from '../../src/util/byte-string.ts'

const text = fc.string({ unit: 'grapheme-ascii', minLength: 1 })
const headerName = fc.stringMatching(/^x-amz-[a-z-]{1,12}[a-z]$/).filter((name) => !/-(date|token)$/.test(name))
// Spaces at the ends and several in a row are normalised.
const headerValue = fc
  .string({ unit: fc.constantFrom(...'aZ09 /=+:;,"\t'), minLength: 1 })
  .filter((value) => /\S/.test(value))

test('the signature of any request is that of the library of AWS', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        method: fc.constantFrom('GET', 'PUT', 'DELETE', 'POST'),
        name: fc.string({ unit: 'binary' }).map(textToBytes),
        query: fc.dictionary(text, fc.string()),
        headers: fc.dictionary(headerName, headerValue),
        token: fc.option(text, { nil: undefined }),
        secret: text,
        seconds: fc.integer({ min: 0, max: 4_000_000_000 }),
      }),
      async ({ method, name, query, headers, token, secret, seconds }) => {
        const keys = { accessKeyId: 'AKID', secretAccessKey: secret, sessionToken: token }
        const date = new Date(seconds * 1000)
        const path = `/${uriEncodePath(name)}`
        const common = { ...headers, host: 'bucket.example', 'user-agent': 'pgts' }
        const library = await new SignatureV4({
          region: 'eu-central-1',
          service: 's3',
          credentials: keys,
          sha256: Hash.bind(null, 'sha256'),
          uriEscapePath: false,
        }).sign(new HttpRequest({ method, path, query, headers: common }), { signingDate: date })
        const own = { ...common }
        const signer = new RequestSigner({ region: 'eu-central-1', service: 's3' })
        signer.sign({ method, path, query: queryString(query), headers: own }, keys, date)
        expect(own).toEqual(library.headers)
      },
    ),
  )
})

test('a signer follows another day and other credentials', () => {
  const signer = new RequestSigner({ region: 'r', service: 's3' })
  const signed = (secret: string, day: string, used = signer) => {
    const headers: Record<string, string> = { host: 'h' }
    used.sign(
      { method: 'GET', path: '/', query: '', headers },
      { accessKeyId: 'a', secretAccessKey: secret },
      new Date(day),
    )
    return headers['authorization']
  }
  const fresh = (secret: string, day: string) => signed(secret, day, new RequestSigner({ region: 'r', service: 's3' }))
  for (const [secret, day] of [
    ['one', '2026-03-01'],
    ['one', '2026-03-02'],
    ['two', '2026-03-02'],
    ['one', '2026-03-02'],
  ] as const)
    expect(signed(secret, day)).toBe(fresh(secret, day))
})
