import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { TEMPLATES } from '../postgres/server-versions.ts'
import { PATRONI_PROGRAMS, PGBACKREST } from '../processes/programs.ts'
import { S3_SERVER_PROGRAMS } from '../stores/s3-server.ts'
import { keepStores } from '../stores/store-keeper.ts'
import { useMemoryDisk } from './memory-disk.ts'

/** Programs that some tests need, and the tests that are skipped without them. */
const PROGRAMS: Readonly<Record<string, string>> = {
  [PGBACKREST]: 'interop with the real pgbackrest',
  lz4: 'lz4 frames against the lz4 command',
  zstd: 'zst frames against the zstd command',
  gzip: 'gz members against the gzip command',
  bzip2: 'bz2 streams against the bzip2 command',
  openssl: 'encrypted files against the openssl command',
  xxhsum: 'block checksums against the xxhsum command',
  dash: 'the launcher in dash',
  busybox: 'the launcher in the shell of busybox',
  promtool: 'the text of metrics against promtool',
  chromium: 'the page of report in a browser',
  '/usr/sbin/sshd': 'hosts apart, connected by ssh',
  strace: 'counting the processes that the launcher starts',
  zsh: 'the completion of zsh',
  fish: 'the completion of fish',
  groff: 'manual pages against groff',
  check_pgbackrest: 'the check of Nagios for pgbackrest',
  ...Object.fromEntries(PATRONI_PROGRAMS.map((name) => [name, 'clusters of Patroni'])),
  ...Object.fromEntries(S3_SERVER_PROGRAMS.map((name) => [name, 'everything on a real S3 server'])),
}

/**
 * Print a line for each group of tests that is skipped; where none may be (CI), refuse to start. Keep what test files share:
 * object stores, and the templates of clusters.
 */
export default async function setup(): Promise<() => Promise<void>> {
  sayWhatIsMissing()
  // On the disk: a store never gives back the memory of removed objects.
  const stopStores = await keepStores()
  const removeMemoryDisk = useMemoryDisk()
  const templates = mkdtempSync(join(tmpdir(), 'pgts-templates-'))
  chmodSync(templates, 0o755)
  process.env[TEMPLATES] = templates
  return async () => {
    await stopStores()
    rmSync(templates, { recursive: true, force: true })
    removeMemoryDisk()
  }
}

function sayWhatIsMissing(): void {
  const missing = Object.entries(PROGRAMS).filter(([name]) => !isThere(name))
  for (const [name, what] of missing) console.log(`left out: ${what} (${name} is not installed)`)
  const asRoot = process.getuid?.() === 0
  if (!asRoot)
    console.log(
      'left out: disk-full tests on a small file system, hosts apart, and the refusal of root (not run as root)',
    )
  if (process.env['PGTS_TEST_REQUIRE_ALL'] === undefined) return
  if (missing.length > 0)
    throw new Error(`PGTS_TEST_REQUIRE_ALL is set, but these are missing: ${missing.map(([name]) => name).join(', ')}`)
  if (!asRoot) throw new Error('PGTS_TEST_REQUIRE_ALL is set, but the tests do not run as root')
}

function isThere(program: string): boolean {
  return spawnSync('sh', ['-c', 'command -v "$1"', 'sh', program]).status === 0
}
