import { describe, expect, test } from 'vitest'
import type { ObjectClient, ObjectListRequest, ObjectPage } from '../../../../src/storage/object/client.ts'
import { pagesOf } from '../../../../src/storage/object/pages.ts'
import { removeBelow } from '../../../../src/storage/object/remove.ts'
import { objectStorage } from '../../../../src/storage/object/storage.ts'

const MOST_ASKED = 50_000

/** A store whose listing has a page for each call. */
function listing(page: (call: number, request: ObjectListRequest) => { names?: string[]; next?: string }) {
  let calls = 0
  const client = {
    display: 's3://bucket',
    limits: { partBytes: { min: 1, max: 1 }, maxParts: 1, parallelParts: 1, removeBatch: 1000 },
    removeBatch: async () => [],
    async list(request: ObjectListRequest): Promise<ObjectPage> {
      if (calls === MOST_ASKED) throw new Error('asked for ever')
      const { names = [], ...rest } = page(calls++, request)
      return { objects: names.map((name) => ({ name, sizeBytes: 1, mtimeMs: 1 })), prefixes: [], ...rest }
    },
  } as unknown as ObjectClient
  return { client, calls: () => calls }
}

const ENDLESS = [
  ['the same page under a new token each time', (call: number) => ({ names: ['p/a', 'p/b'], next: `t${call}` })],
  ['tokens in a circle', (call: number) => ({ names: [`p/${call}`], next: `t${call % 7}` })],
  [
    'pages in a circle, after some that are not',
    (call: number) => ({ names: [`p/${Math.min(call, 5 + (call % 3))}`], next: `t${call}` }),
  ],
] as const

describe('a listing without end', () => {
  test.each(ENDLESS)('is an error after a few pages: %s', async (_, page) => {
    for (const run of [
      async (client: ObjectClient) => {
        for await (const file of objectStorage(client, { path: '/' }).list('p', { recursive: true })) void file
      },
      (client: ObjectClient) => removeBelow(client, 'p/', {}),
    ]) {
      const { client, calls } = listing(page)
      await expect(run(client)).rejects.toMatchObject({
        code: 'service',
        message: expect.stringContaining('cannot list s3://bucket: the listing does not end'),
      })
      expect(calls()).toBeLessThan(40)
    }
  })

  test('is an error when all pages are empty', async () => {
    const { client, calls } = listing((call) => ({ next: `t${call}` }))
    const all = async () => {
      for await (const page of pagesOf(client, { prefix: '' })) void page
    }
    await expect(all()).rejects.toMatchObject({ code: 'service' })
    expect(calls()).toBeLessThan(MOST_ASKED)
  })
})

test('a long listing with many empty pages is read completely', async () => {
  const pages = 3000
  const { client } = listing((call) => ({
    names: call % 100 === 0 ? [`p/${call}`] : [],
    next: call < pages ? `t${call}` : undefined,
  }))
  const all: string[] = []
  for await (const page of pagesOf(client, { prefix: '' })) all.push(...page.objects.map(({ name }) => name))
  expect(all).toHaveLength(pages / 100 + 1)
})
