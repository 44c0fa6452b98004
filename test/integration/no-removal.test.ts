import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { FrontFaults } from '../support/faults/faulty-front.ts'
import { FaultyWay } from '../support/faults/faulty-way.ts'
import { objectStores, type StoreName } from '../support/stores/object-stores.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { giveToTestUser, type RunResult } from '../support/processes/test-user.ts'

/** The answer of each store that refuses a removal, alone or in a batch, to an account that may write. */
const DENIED: Readonly<Record<StoreName, FrontFaults['how']>> = {
  s3: {
    kind: 'answer',
    status: 403,
    headers: { 'content-type': 'application/xml' },
    body: '<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>',
  },
  azure: {
    kind: 'answer',
    status: 403,
    headers: { 'content-type': 'application/xml', 'x-ms-error-code': 'AuthorizationPermissionMismatch' },
    body: '<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>not authorized</Message></Error>',
  },
  gcs: {
    kind: 'answer',
    status: 403,
    headers: { 'content-type': 'application/json' },
    body: '{"error":{"code":403,"message":"no storage.objects.delete access","errors":[{"reason":"forbidden"}]}}',
  },
}

const isRemoval = ({ method, path }: { readonly method: string; readonly path: string }) =>
  method === 'DELETE' || (method === 'POST' && /[?&]delete(&|=|$)|comp=batch|^\/batch\//.test(path))

const stores = objectStores.filter(({ missing }) => missing === undefined)
const ways: FaultyWay[] = []
let site: Site

beforeAll(async () => {
  const options: Record<string, string> = { 'archive-timeout': '100s' }
  for (const [index, store] of stores.entries()) {
    const bucket = await store.bucket()
    const way = await FaultyWay.to(bucket)
    ways.push(way)
    for (const [name, value] of Object.entries(bucket.options(way.via)))
      options[name.replace('repo1', `repo${index + 1}`)] = value
    options[`repo${index + 1}-retention-full`] = '1'
    options[`repo${index + 1}-bundle`] = 'y'
    way.set({ front: { only: isRemoval, how: DENIED[store.name] } })
  }
  site = await aSite({ walSegsizeMb: 1, options })
  mkdirSync(join(site.dir, 'lock-b'))
  giveToTestUser(join(site.dir, 'lock-b'))
}, 120_000)
afterAll(async () => {
  await site?.[Symbol.asyncDispose]()
  for (const way of ways) await way[Symbol.asyncDispose]()
})

const textOf = ({ stdout, stderr }: RunResult): string => stdout + stderr

test('a stanza is created, and its lease released, in every store', async () => {
  const result = await site.pgtsOk('stanza-create')
  expect(textOf(result)).not.toContain('lease')
  expect(textOf(await site.pgtsOk('lease'))).not.toMatch(/holds/)
  for (const way of ways) expect(way.front.counters.struck).toBeGreaterThan(0)
})

test.each(stores.map(({ name }, index) => ({ name, repo: index + 1 })))(
  'backups succeed in $name with credentials that may not remove, also from another host; only expire fails',
  async ({ repo }) => {
    const full = async (...args: string[]) => site.pgtsOk(`--repo=${repo}`, ...args, '--type=full', 'backup')
    expect(textOf(await full())).not.toMatch(/ERROR|lease/)
    // Retention expires the first backup now.
    const second = textOf(await full())
    expect(second).toMatch(new RegExp(`WARN: repo${repo}: expired backups or WAL were not removed: .*`))
    expect(second).toContain("HINT: run 'expire' with credentials that may remove files")
    expect(second).not.toContain('ERROR')
    await full(`--lock-path=${join(site.dir, 'lock-b')}`)

    const expired = await site.pgts([`--repo=${repo}`, 'expire'])
    expect({ code: expired.code, text: textOf(expired) }).toMatchObject({
      code: 104,
      text: expect.stringContaining('ERROR') as string,
    })
    expect(await labels(repo)).toHaveLength(3)

    // The rest is removed when removal is allowed.
    ways[repo - 1]!.set({})
    await site.pgtsOk(`--repo=${repo}`, 'expire')
    expect(await labels(repo)).toHaveLength(1)
    await site.pgtsOk(`--repo=${repo}`, 'verify')
  },
  240_000,
)

test.each(stores.map(({ name }, index) => ({ name, repo: index + 1 })))(
  'an expire after a backup in $name that fails for another reason ends with 104, and the backup is kept',
  async ({ name, repo }) => {
    const how = { ...DENIED[name], status: 400, body: '', headers: {} } as FrontFaults['how']
    ways[repo - 1]!.set({
      front: { only: ({ method, path }) => isRemoval({ method, path }) && !path.includes('lease'), how },
    })
    const before = await labels(repo)
    // Answers of Azure have its headers, so this one is retried until the timeout.
    const result = await site.pgts([`--repo=${repo}`, '--io-timeout=2', '--type=full', 'backup'])
    expect({ code: result.code, text: textOf(result) }).toMatchObject({ code: 104 })
    expect(await labels(repo)).toHaveLength(before.length + 1)
  },
  240_000,
)

async function labels(repo: number): Promise<string[]> {
  const { stdout } = await site.pgtsOk(`--repo=${repo}`, '--output=json', 'info')
  const [{ backup }] = JSON.parse(stdout) as [{ backup: { label: string }[] }]
  return backup.map(({ label }) => label)
}
