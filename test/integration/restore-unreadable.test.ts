import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT_CODES } from '../../src/util/error.ts'
import { makeTestDir } from '../support/processes/test-user.ts'
import { expectRefusal, seen, type Refusal } from '../support/refusal.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { freePorts } from '../support/stores/free-port.ts'
import { objectStores, titleOf } from '../support/stores/object-stores.ts'

const PASS = 'only in tests'

/** The error must say why the repository cannot be read; it is not known that no backup exists. */
async function expectUnreadable(
  site: Site,
  args: readonly string[],
  refusal: Refusal,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const result = await site.pgts([`--pg1-path=${makeTestDir('target')}`, ...args, 'restore'], { env })
  expectRefusal(result, refusal)
  expect(seen(result)).not.toMatch(/take a backup|stanza-create|only in tests/)
}

describe('restore from a local repository', () => {
  let site: Site
  beforeAll(async () => {
    site = await aSite({ start: false, options: { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': PASS } })
    await site.pgtsOk('--no-online', 'stanza-create')
    await site.pgtsOk('--no-online', 'backup')
  }, 60_000)
  afterAll(() => site?.[Symbol.asyncDispose]())

  async function withConfig(change: (text: string) => string, work: () => Promise<void>): Promise<void> {
    const before = readFileSync(site.config, 'utf8')
    writeFileSync(site.config, change(before))
    await work()
    writeFileSync(site.config, before)
  }

  test('with a wrong passphrase reports the passphrase and the line that sets it', () =>
    withConfig(
      (text) => text.replace(PASS, 'mistyped'),
      () =>
        expectUnreadable(site, [], {
          code: 95,
          says: [/wrong passphrase: repo1-cipher-pass \(from .*pgbackrest\.conf line \d+\)/],
          hint: /compare repo1-cipher-pass with the passphrase that the stanza was created with/,
        }),
    ))

  test('without a passphrase says that the repository is encrypted', () =>
    withConfig(
      (text) => text.replaceAll(/^repo1-cipher.*\n/gm, ''),
      () =>
        expectUnreadable(site, [], {
          code: 95,
          says: ['backup.info is encrypted, but no cipher is configured for repo1'],
          hint: /set repo1-cipher-type=aes-256-cbc and repo1-cipher-pass/,
        }),
    ))

  test.each([['backup'], ['backup/main'], ['backup/main/backup.info']])(
    'without permission to read %s names the file and the user',
    async (name) => {
      const path = join(site.repo, name)
      for (const each of [path, ...(name.endsWith('.info') ? [`${path}.copy`] : [])]) chmodSync(each, 0)
      await expectUnreadable(site, [], {
        code: 41,
        says: [join(site.repo, 'backup/main/backup.info'), 'permission denied'],
        hint: /check the owner and permissions of the path .*: this process runs as uid \d+/,
      })
      for (const each of [path, ...(name.endsWith('.info') ? [`${path}.copy`] : [])]) chmodSync(each, 0o750)
    },
  )

  test('that is not mounted names the missing file and repo-path', async () => {
    renameSync(site.repo, `${site.repo}.away`)
    const result = await site.pgts([`--pg1-path=${makeTestDir('target')}`, 'restore'])
    renameSync(`${site.repo}.away`, site.repo)
    expectRefusal(result, { code: 75, says: [join(site.repo, 'backup/main/backup.info')], hint: /repo-path/ })
    expect(seen(result)).not.toContain('take a backup')
  })

  test('succeeds when the repository can be read again', () =>
    site.pgtsOk(`--pg1-path=${makeTestDir('target')}`, 'restore'))
})

describe.each(objectStores.map((store) => ({ title: titleOf(store), store })))('restore from $title', ({ store }) => {
  test.skipIf(store.missing !== undefined)(
    'with a missing bucket, a refused connection or wrong credentials reports that',
    async () => {
      const bucket = await store.bucket()
      await using site = await aSite({ start: false, options: bucket.options() })
      const option = { s3: 's3-bucket', azure: 'azure-container', gcs: 'gcs-bucket' }[store.name]
      await expectUnreadable(site, [`--repo1-${option}=not-there-at-all`], {
        code: 73,
        says: ['not-there-at-all', 'does not exist'],
        hint: /create/,
      })
      const port = (await freePorts(1))[0]!
      const elsewhere = Object.entries(bucket.options({ port }))
        .filter(([name]) => /host|port|endpoint/.test(name))
        .map(([name, value]) => `--${name}=${value}`)
      await expectUnreadable(site, [...elsewhere, '--io-timeout=1s'], {
        code: 49,
        says: ['connection refused'],
        hint: /check the endpoint, host and port of the repository/,
      })
      const env = { s3: 'PGTS_REPO1_S3_KEY_SECRET', azure: 'PGTS_REPO1_AZURE_KEY', gcs: undefined }[store.name]
      if (env === undefined) return
      const refusal = { code: EXIT_CODES.access, says: [/signature|AuthenticationFailed|authenti/i], hint: /repo1-/ }
      await expectUnreadable(site, [], refusal, { [env]: Buffer.from('wrong').toString('base64') })
    },
    120_000,
  )
})
