/**
 * Compares pgts with pgbackrest: the same work, alternating, in one run. The result are paired ratios, because machines
 * are shared and noisy.
 *
 *   npm run bench -- [--size=1024] [--runs=3] [--codec=zst] [--level=3] [--process-max=2] [--segments=20]
 *                    [--archive-segments=100] [--wal-mb=16] [--only=restore,verify] [--out=FILE]
 *                    [--objects=10000] [--info-segments=1000000] [--repo=s3 [--latency=20] [--tables=5000]]
 *   npm run bench -- --files=30000
 *   npm run bench -- --remote[=tls] [--latency=5]
 *   npm run bench -- --only=scan
 *
 * `--objects` is the number of files that an expire removes, `--info-segments` the number of segments in the archive that info
 * reads. `--repo=s3` puts the repositories on a real S3 server behind a network with that round trip; `--tables` is the
 * number of small tables in a second cluster. `--remote` measures a PostgreSQL host and a repository host,
 * connected by SSH or TLS. `--files` measures a cluster with so many small files instead of rows.
 * `--only` names parts of the names of rows.
 *
 * Sizes are MiB of table data. `PGTS_TEST_PGBACKREST` names another pgbackrest than the installed one; block incremental
 * is measured with 2.46 and later.
 */
import { isInstalled } from '../test/support/postgres/postgres.ts'
import { benchArchive } from './bench/archive-rows.ts'
import { benchDisk } from './bench/disk.ts'
import { benchHosts } from './bench/hosts.ts'
import { benchManyFiles } from './bench/many-files.ts'
import { benchObjectStore } from './bench/object-store.ts'
import { benchScan } from './bench/push-scan.ts'
import { parseSettings, PGBACKREST } from './bench/settings.ts'

// Servers and directories are removed at the exit of this process.
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
try {
  const settings = parseSettings(process.argv.slice(2))
  if (!PGBACKREST.includes('/') && !isInstalled(PGBACKREST))
    throw new Error(`the benchmark needs ${PGBACKREST}: apt-get install pgbackrest`)
  if (settings.repo === 's3') await benchObjectStore(settings)
  else if (settings.remote !== undefined) await benchHosts(settings)
  else if (settings.files > 0) await benchManyFiles(settings)
  else if (settings.only.some((part) => part.startsWith('async'))) await benchArchive(settings)
  else if (settings.only.includes('scan')) await benchScan(settings)
  else await benchDisk(settings)
} catch (error) {
  console.error(`the benchmark failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
