import { describe, expect, test } from 'vitest'
import { canSwitchUsers } from '../../support/hosts/hosts.ts'
import { PushSite } from '../../support/hosts/push-site.ts'
import { objectStores, titleOf } from '../../support/stores/object-stores.ts'

// The key file of gcs belongs to the test user, and the repository host has another one.
const stores = objectStores.filter(({ name }) => name !== 'gcs')
const all = process.env['PGTS_TEST_HOSTS'] === 'all'

describe.each(stores)('a repository host with a repository in $name', { timeout: 180_000 }, (store) => {
  const isRun = canSwitchUsers && all && store.missing === undefined

  test.runIf(isRun)(`gives it to a PostgreSQL host that has no credentials: ${titleOf(store)}`, async () => {
    const bucket = await store.bucket()
    await using site = await PushSite.start({ repository: { ...bucket.options(), 'repo1-path': '/backups' } })
    for (const args of [['stanza-create'], ['check'], ['backup', '--type=full'], ['verify']])
      await site.postgres.pgtsOk('--stanza=main', ...args)
    const names = [...(await bucket.objects()).keys()]
    expect(names.filter((name) => /^backups\/backup\/main\/\d{8}-\d{6}F\/backup\.manifest$/.test(name))).toHaveLength(1)
  })
})
