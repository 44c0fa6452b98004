import { readdirSync } from 'node:fs'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { dataChecksum, type DataChecksum, giveToTestUser, makeTestDir, startCluster } from '../postgres/postgres.ts'
import type { Site } from './site.ts'

export type Program = 'pgts' | 'pgbackrest'

/** The data that a restore to the end of the backup must have. */
export interface Link {
  readonly label: string
  readonly by: Program
  readonly type: 'full' | 'diff' | 'incr'
  readonly data: DataChecksum
}

export function labelsOf(site: Site): string[] {
  return readdirSync(join(site.repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?$/.test(name))
}

export async function run(site: Site, who: Program, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await (who === 'pgts' ? site.pgtsOk(...args) : site.pgbackrestOk(...args))
  return stdout + stderr
}

/** Take a backup, and record the data of the cluster: no other client may write to it at the same time. */
export async function backUp(
  site: Site,
  by: Program,
  type: 'full' | 'diff' | 'incr',
  ...more: string[]
): Promise<Link> {
  const before = new Set(labelsOf(site))
  const data = await dataChecksum(site.cluster)
  await run(site, by, `--type=${type}`, ...more, 'backup')
  const fresh = labelsOf(site).filter((label) => !before.has(label))
  if (fresh.length !== 1) throw new Error(`one new backup was expected, there are ${fresh.length}: ${fresh.join(', ')}`)
  return { label: fresh[0]!, by, type, data }
}

/** Restore one backup to its end in a new directory, start it, and read everything. */
export async function restoredData(site: Site, who: Program, label: string, ...more: string[]): Promise<DataChecksum> {
  const dir = makeTestDir('restored')
  const target = join(dir, 'data')
  const tablespaces = join(dir, 'ts')
  mkdirSync(target, { mode: 0o700 })
  mkdirSync(tablespaces, { mode: 0o700 })
  giveToTestUser(dir)
  const hasTablespace = await site.cluster.query("select from pg_tablespace where spcname = 'ts'")
  await run(
    site,
    who,
    `--pg1-path=${target}`,
    ...(hasTablespace.length === 0 ? [] : [`--tablespace-map=ts=${tablespaces}`]),
    `--set=${label}`,
    '--type=immediate',
    '--target-action=promote',
    ...more,
    'restore',
  )
  // A copy must not archive into the stanza of the original.
  await using restored = await startCluster({
    version: site.cluster.version,
    dir: target,
    conf: { archive_mode: 'off' },
  })
  await restored.untilPrimary()
  return await dataChecksum(restored)
}
