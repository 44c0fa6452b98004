import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PutBucketVersioningCommand, S3Client } from '@aws-sdk/client-s3'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Bucket, objectStores } from '../support/stores/object-stores.ts'
import { dataChecksum, giveToTestUser, isInstalled, makeTestDir, startCluster } from '../support/postgres/postgres.ts'
import { untilArchived } from '../support/sites/replica.ts'
import { endResidents } from '../support/sites/resident.ts'
import { aSite, askBoth, asWritten, PGBACKREST, type Site } from '../support/sites/site.ts'
import { sharedStore } from '../support/stores/store-keeper.ts'

type Program = 'pgts' | 'pgbackrest'

const store = objectStores.find(({ name }) => name === 's3')!
const missing = store.missing ?? (isInstalled(PGBACKREST) ? undefined : 'pgbackrest is not installed')

/** One repository in a bucket, over TLS, written and read by both programs; then repo-target-time in a bucket with versions. */
describe.skipIf(missing !== undefined)(`S3 with pgbackrest${missing === undefined ? '' : ` (${missing})`}`, () => {
  let bucket: Bucket
  let site: Site

  beforeAll(async () => {
    bucket = await store.bucket()
    await keepVersions(bucket.name)
    // pgbackrest 2.45 checks only names of a certificate, no addresses.
    const byName = { 'repo1-s3-endpoint': 'localhost', 'repo1-storage-host': 'localhost' }
    site = await aSite({
      walSegsizeMb: 1,
      options: { ...bucket.options(), ...byName, 'compress-type': 'zst', 'process-max': '2' },
    })
    await site.cluster.query('create table t as select i, md5(i::text) as v from generate_series(1, 5000) i')
  })
  afterAll(async () => site?.[Symbol.asyncDispose]())

  const run = (who: Program, ...args: string[]) => (who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args))

  /** The data of the cluster that `who` restores. */
  async function restored(who: Program, ...args: string[]) {
    const dir = makeTestDir('restored')
    const target = join(dir, 'data')
    mkdirSync(target, { mode: 0o700 })
    giveToTestUser(dir)
    await run(who, `--pg1-path=${target}`, ...args, 'restore')
    // A copy must not archive into the stanza of the original.
    await using cluster = await startCluster({ dir: target, conf: { archive_mode: 'off' } })
    await cluster.untilPrimary()
    return await dataChecksum(cluster)
  }

  test('a full of one program and an incr of the other are restored and expired by both', async () => {
    await run('pgts', 'stanza-create')
    await run('pgbackrest', 'stanza-create')
    await run('pgts', '--type=full', 'backup')
    await run('pgbackrest', 'check')
    await site.cluster.query('update t set v = v where i % 100 = 0')
    await run('pgbackrest', '--type=incr', 'backup')
    await site.cluster.query('insert into t select i, i::text from generate_series(1, 100) i')
    const now = await dataChecksum(site.cluster)
    await run('pgts', 'check')
    for (const who of ['pgts', 'pgbackrest'] as const) expect(await restored(who), who).toEqual(now)
    await site.verifiedByPgbackrest()
    const infos = await askBoth(async (who) => {
      const [stanza] = JSON.parse((await run(who, '--output=json', 'info')).stdout, asWritten) as [{ backup: unknown }]
      return stanza.backup
    })
    expect(infos[0]).toEqual(infos[1])

    // In bundles, which need a tenth of the requests.
    await run('pgbackrest', '--type=full', '--repo1-bundle', 'backup')
    await run('pgts', '--type=full', '--repo1-bundle', '--repo1-retention-full=2', 'backup')
    expect(await labels()).toHaveLength(2)
    await run('pgbackrest', '--repo1-retention-full=1', 'expire')
    expect(await labels()).toHaveLength(1)
    await site.verifiedByPgbackrest()
    expect(await bucket.openUploads()).toEqual([])
  }, 300_000)

  test('removed backups can be restored with repo-target-time', async () => {
    const before = await dataChecksum(site.cluster)
    await run('pgts', 'check')
    await untilArchived(site.cluster)
    await endResidents(site)
    // A moment in whole seconds of the service's clock, before which all objects exist and after which none does.
    const then = new Date(Math.ceil(Date.now() / 1000) * 1000)
    await sleep(then.getTime() + 1000 - Date.now())
    const client = await bucket.client()
    const names = [...(await bucket.objects()).keys()]
    expect(await client.removeBatch(names)).toEqual([])
    await client[Symbol.asyncDispose]()
    expect((await bucket.objects()).size).toBe(0)
    const target = `--repo-target-time=${then.toISOString().slice(0, 19).replace('T', ' ')}+00`
    expect((await site.pgts(['--repo=1', 'restore', `--pg1-path=${makeTestDir('nothing')}`])).code).not.toBe(0)
    expect((await site.pgtsOk('--repo=1', target, 'info')).stdout).toContain('full backup: ')
    expect(await restored('pgts', '--repo=1', target)).toEqual(before)
    const refused = await site.pgts([target, 'info'])
    expect(refused).toMatchObject({ code: 37, stdout: expect.stringContaining('--repo=1') })
  }, 300_000)

  async function labels(): Promise<string[]> {
    const [stanza] = JSON.parse((await run('pgts', '--output=json', 'info')).stdout) as [
      { backup: { label: string }[] },
    ]
    return stanza.backup.map(({ label }) => label)
  }
})

async function keepVersions(bucket: string): Promise<void> {
  const { key, secret, region, host, httpPort } = await sharedStore('s3')
  const aws = new S3Client({
    endpoint: `http://${host}:${httpPort}`,
    forcePathStyle: true,
    region,
    credentials: { accessKeyId: key, secretAccessKey: secret },
  })
  const configuration = { Status: 'Enabled' } as const
  await aws.send(new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: configuration }))
  aws.destroy()
}
