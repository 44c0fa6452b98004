import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { restoreElsewhere } from '../support/sites/elsewhere.ts'
import { type Bucket, objectStores, titleOf } from '../support/stores/object-stores.ts'
import { dataChecksum, startCluster } from '../support/postgres/postgres.ts'
import { expectRefusal } from '../support/refusal.ts'
import { aSite, type Site } from '../support/sites/site.ts'

/** Options that differ between the stores, so that all occur. */
const CHOICES = {
  s3: { 'compress-type': 'zst', 'repo1-bundle': 'y', 'repo1-block': 'y', 'archive-async': 'y' },
  azure: {
    'compress-type': 'gz',
    'repo1-bundle': 'y',
    'repo1-cipher-type': 'aes-256-cbc',
    'repo1-cipher-pass': 'only in tests',
  },
  gcs: { 'compress-type': 'lz4', 'repo1-bundle': 'y', 'archive-async': 'y' },
} as const

/** Names in the bucket, not read by the client of pgts. */
async function namesIn(bucket: Bucket): Promise<string[]> {
  return [...(await bucket.objects()).keys()].sort()
}

const backupsIn = (names: readonly string[]) =>
  names.flatMap((name) => /^repo\/backup\/main\/([^/]+)\/backup\.manifest$/.exec(name)?.[1] ?? [])

async function labelsOf(site: Site): Promise<string[]> {
  const { stdout } = await site.pgtsOk('--output=json', 'info')
  return (JSON.parse(stdout) as { backup: { label: string }[] }[])[0]?.backup.map(({ label }) => label) ?? []
}

/** All uses of a repository once, on a server of its kind. */
describe.each(objectStores.map((store) => ({ title: titleOf(store), store })))(
  'a repository in $title',
  ({ store }) => {
    test.skipIf(store.missing !== undefined)(
      'serves stanza-create, archiving, full and incr, restore to a point in time, and expire',
      async () => {
        const bucket = await store.bucket({ versioning: true })
        await using site = await aSite({
          walSegsizeMb: 1,
          options: { 'process-max': '2', ...CHOICES[store.name], ...bucket.options() },
        })
        const { cluster } = site
        await site.pgtsOk('stanza-create')
        await site.pgtsOk('check')
        await cluster.query('create table t as select g as id, md5(g::text) as v from generate_series(1, 60000) g')
        await site.pgtsOk('--type=full', 'backup')
        expect(backupsIn(await namesIn(bucket))).toHaveLength(1)

        await cluster.query('update t set v = v where id % 5000 = 0')
        await site.pgtsOk('--type=incr', 'backup')
        await cluster.query("insert into t select g, 'late' from generate_series(1, 200) g")
        const wanted = await dataChecksum(cluster)
        const lsn = String((await cluster.query('select pg_current_wal_insert_lsn()::text as lsn'))[0]?.['lsn'])
        await cluster.query('drop table t')
        await site.pgtsOk('check')
        expect(await labelsOf(site)).toEqual(backupsIn(await namesIn(bucket)))

        // The last backup, and the WAL after it up to the target.
        const target = ['--type=lsn', `--target=${lsn}`, '--target-action=promote']
        const restored = await restoreElsewhere(site, target)
        {
          await using copy = await startCluster({ dir: join(restored, 'data'), conf: { archive_mode: 'off' } })
          await copy.untilPrimary()
          expect(await dataChecksum(copy)).toEqual(wanted)
        }

        await site.pgtsOk('--type=full', '--repo1-retention-full=1', 'backup')
        const left = await namesIn(bucket)
        const [kept, ...others] = backupsIn(left)
        expect(others).toEqual([])
        expect(await labelsOf(site)).toEqual([kept])
        // All files of the expired backups are removed (except their manifests in the history), and the WAL that only they needed.
        const backupFiles = left.filter((name) => /^repo\/backup\/main\/\d/.test(name))
        expect(backupFiles.filter((name) => !name.startsWith(`repo/backup/main/${kept}/`))).toEqual([])
        const { stdout } = await site.pgtsOk('--output=json', 'info')
        const [{ archive }] = JSON.parse(stdout) as [{ archive: { min: string }[] }]
        const segments = left.flatMap((name) => /\/([0-9A-F]{24})-[0-9a-f]{40}/.exec(name)?.[1] ?? [])
        expect(segments.length).toBeGreaterThan(0)
        expect(segments.filter((segment) => segment < (archive[0]?.min ?? ''))).toEqual([])

        // No partial or temporary object, and none outside of the path.
        expect(left.filter((name) => /\.tmp$|\/\/|^(?!repo\/)/.test(name))).toEqual([])
        expect(await bucket.openUploads()).toEqual([])

        const atLast = await dataChecksum(cluster)
        await site.pgtsOk('check')
        // A moment in whole seconds, before which all objects exist and after which none does.
        const then = new Date(Math.ceil(Date.now() / 1000) * 1000)
        await sleep(then.getTime() + 1000 - Date.now())
        const gone = await site.pgts(['stop'])
        expect(gone.code).toBe(0)
        await site.pgtsOk('stanza-delete', '--force')
        expect(await namesIn(bucket)).toEqual([])

        const pointInTime = ['--repo=1', `--repo-target-time=${then.toISOString().slice(0, 19).replace('T', ' ')}+00`]
        await site.pgtsOk('start')
        if (store.name === 'azure') {
          const asked = await site.pgts([...pointInTime, 'info'])
          expectRefusal(asked, { code: 31, says: ['repo-target-time', 'azure'], hint: /versioning/ })
        }
        if (store.name !== 'gcs') return
        // Versions of removed objects can still be restored.
        expect(await labelsOf(site)).toEqual([])
        expect((await site.pgtsOk(...pointInTime, 'info')).stdout).toContain(String(kept))
        const before = await restoreElsewhere(site, [...pointInTime, '--type=immediate', '--target-action=promote'])
        await using copy = await startCluster({ dir: join(before, 'data'), conf: { archive_mode: 'off' } })
        await copy.untilPrimary()
        expect(await dataChecksum(copy)).toEqual(atLast)
      },
      240_000,
    )

    test.skipIf(store.missing !== undefined)(
      'reports a missing bucket and an untrusted certificate by the names of options, and no secret',
      async () => {
        const bucket = await store.bucket()
        await using site = await aSite({ start: false, options: bucket.options() })
        const secrets = Object.entries(bucket.options()).filter(([name]) => /-key(-secret)?$/.test(name))
        // PostgreSQL treats exit code 1 as the end of the archive, so none of these calls may exit with it.
        const refused = async (args: string[], refusal: Parameters<typeof expectRefusal>[1]) => {
          const result = await site.pgts([...args, 'archive-get', '000000010000000000000001', `${site.dir}/segment`])
          expectRefusal(result, refusal)
          for (const [name, value] of secrets)
            if (!value.startsWith('/')) expect(result.stdout + result.stderr, name).not.toContain(value)
        }
        const option = { s3: 's3-bucket', azure: 'azure-container', gcs: 'gcs-bucket' }[store.name]
        await refused([`--repo1-${option}=not-there-at-all`], { code: 73, says: ['not-there-at-all'], hint: /create/ })
        await refused(['--repo1-storage-ca-file=/etc/ssl/certs/ca-certificates.crt'], {
          code: 101,
          says: ['certificate'],
          hint: /repo1?-storage-ca-file/,
        })
      },
      60_000,
    )
  },
)
