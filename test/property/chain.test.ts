import { createHash } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runInProcess } from '../support/processes/in-process.ts'
import { startCluster } from '../support/postgres/postgres.ts'

/**
 * A data directory changes at random between the backups of a chain; every backup that is restored, over any content of
 * the target, gives the bytes of its time. The cluster is never started: only files and their times matter here.
 */
const PAGE = 8192
const root = mkdtempSync(join(tmpdir(), 'pgts-chain-'))
const template = join(root, 'template')
afterAll(() => rmSync(root, { recursive: true, force: true }))

beforeAll(async () => {
  const cluster = await startCluster({ version: 17, start: false })
  for (const name of ['global', 'base/5', 'pg_wal', 'pg_tblspc'])
    mkdirSync(join(template, name), { recursive: true, mode: 0o700 })
  for (const name of ['PG_VERSION', 'global/pg_control', 'postgresql.auto.conf'])
    copyFileSync(join(cluster.dataDir, name), join(template, name))
})

type Change =
  | { readonly kind: 'write'; readonly file: number; readonly page: number; readonly seed: number }
  | { readonly kind: 'size'; readonly file: number; readonly bytes: number; readonly seed: number }
  | { readonly kind: 'touch' | 'remove'; readonly file: number }

const file = fc.integer({ min: 0, max: 6 })
const seed = fc.integer({ min: 1, max: 1_000_000 })
// Around the borders of pages, of the smallest file that is stored as blocks, and of super blocks.
const size = fc.oneof(
  fc.constantFrom(0, 1, PAGE - 1, PAGE, 2 * PAGE - 1, 2 * PAGE, 31 * PAGE, 32 * PAGE + 5, 128 * PAGE, 130 * PAGE),
  fc.integer({ min: 0, max: 150 * PAGE }),
)
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('write' as const), file, page: fc.integer({ min: 0, max: 149 }), seed }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('size' as const), file, bytes: size, seed }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('touch' as const, 'remove' as const), file }) },
)
const round = fc.record({
  changes: fc.array(change, { minLength: 1, maxLength: 8 }),
  type: fc.constantFrom('full', 'diff', 'incr', 'incr'),
  delta: fc.boolean(),
})
const scenario = fc.record({
  pack: fc.constantFrom('files', 'bundle', 'block'),
  codec: fc.constantFrom('none', 'gz', 'lz4', 'zst'),
  cipher: fc.boolean(),
  rounds: fc.array(round, { minLength: 2, maxLength: 5 }),
  /** The backup that is expired before the restores, with its dependents. */
  expired: fc.nat(),
})

test('each backup of a chain restores the bytes of its time when files change between backups', async () => {
  let restores = 0
  await fc.assert(
    fc.asyncProperty(scenario, async ({ pack, codec, cipher, rounds, expired }) => {
      const dir = mkdtempSync(join(root, 'run-'))
      const pgPath = join(dir, 'pg')
      copyTree(template, pgPath)
      // In the environment an option that a command does not know is ignored.
      const env = {
        PGTS_STANZA: 'main',
        PGTS_REPO1_PATH: `${dir}/repo`,
        PGTS_REPO1_RETENTION_FULL: '9',
        PGTS_LOCK_PATH: `${dir}/lock`,
        PGTS_LOG_PATH: `${dir}/log`,
        PGTS_SPOOL_PATH: `${dir}/spool`,
        PGTS_PG1_PATH: pgPath,
        PGTS_COMPRESS_TYPE: codec,
        PGTS_REPO1_BUNDLE: pack === 'files' ? 'n' : 'y',
        ...(pack === 'files' ? {} : { PGTS_REPO1_BLOCK: pack === 'block' ? 'y' : 'n' }),
        ...(cipher ? { PGTS_REPO1_CIPHER_TYPE: 'aes-256-cbc', PGTS_REPO1_CIPHER_PASS: 'of the property' } : {}),
      }
      const run = (...args: string[]) => runInProcess(['--no-config', ...args], `${dir}/repo`, undefined, env)
      await run('--no-online', 'stanza-create')

      // Times of the past, ten seconds apart, so that nothing depends on how fast this runs.
      let time = Math.floor(Date.now() / 1000) - 10_000
      const states = new Map<string, Map<string, string>>()
      for (const { changes, type, delta } of rounds) {
        time += 10
        for (const one of changes) apply(pgPath, one, time)
        // A backup without changes is refused, so at least one file changes.
        writeFileSync(join(pgPath, 'pg_wal/round'), String(time))
        utimesSync(join(pgPath, 'pg_wal/round'), time, time)
        await run('--no-online', `--type=${type}`, ...(delta ? ['--delta'] : []), 'backup')
        states.set(labelsOf(dir).at(-1)!, stateOf(pgPath))
      }
      const labels = labelsOf(dir)
      expect(labels).toHaveLength(rounds.length)
      const fulls = labels.filter((label) => label.endsWith('F'))
      const victim = labels[expired % labels.length]!
      if (victim !== fulls.at(-1)) await run(`--set=${victim}`, 'expire')

      const over = join(dir, 'over')
      for (const label of labelsOf(dir)) {
        const fresh = join(dir, `fresh-${label}`)
        await run(`--pg1-path=${fresh}`, `--set=${label}`, '--type=none', 'restore')
        expect(stateOf(fresh), `${label} into nothing`).toEqual(states.get(label))
        // The target holds another backup of the same cluster.
        const existing = readdirSync(dir).includes('over')
        await run(`--pg1-path=${over}`, `--set=${label}`, '--type=none', ...(existing ? ['--delta'] : []), 'restore')
        expect(stateOf(over), `${label} over another`).toEqual(states.get(label))
        restores += 2
      }
      rmSync(dir, { recursive: true, force: true })
    }),
    { numRuns: Number(process.env['PGTS_TEST_RUNS'] ?? 30) },
  )
  expect(restores).toBeGreaterThan(50)
}, 300_000)

function nameOf(pgPath: string, index: number): string {
  // Three files with pages, and others; one in the root.
  return join(
    pgPath,
    [
      'base/5/90001',
      'base/5/90002',
      'base/5/90002.1',
      'base/5/90003_fsm',
      'base/5/notes',
      'pg_wal/kept',
      'odd name.conf',
    ][index]!,
  )
}

function apply(pgPath: string, one: Change, time: number): void {
  const name = nameOf(pgPath, one.file)
  const exists = statSync(name, { throwIfNoEntry: false }) !== undefined
  if (one.kind === 'remove') return rmSync(name, { force: true })
  if (one.kind === 'size') {
    const before = exists ? statSync(name).size : 0
    if (one.bytes <= before && exists) truncateSync(name, one.bytes)
    else
      writeFileSync(
        name,
        Buffer.concat([exists ? readFileSync(name) : Buffer.alloc(0), noise(one.bytes - before, one.seed)]),
      )
  } else if (!exists) return
  else if (one.kind === 'write') {
    const content = readFileSync(name)
    noise(Math.min(PAGE, Math.max(0, content.length - one.page * PAGE)), one.seed).copy(content, one.page * PAGE)
    writeFileSync(name, content)
  }
  utimesSync(name, time, time)
}

/** Half of it compresses. */
function noise(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(Math.max(0, length))
  let state = seed >>> 0
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = (i >> 9) % 2 === 0 ? state >>> 24 : 65
  }
  return bytes
}

function labelsOf(dir: string): string[] {
  return readdirSync(join(dir, 'repo/backup/main'))
    .filter((name) => /^\d{8}-\d{6}F/.test(name))
    .sort()
}

/** Name, size and SHA-1 of every file. */
function stateOf(pgPath: string): Map<string, string> {
  const names = (readdirSync(pgPath, { recursive: true }) as string[]).sort()
  return new Map(
    names
      // The mark of a copy is not in the backup.
      .filter((name) => name !== 'pgts.copy' && statSync(join(pgPath, name)).isFile())
      .map((name) => {
        const bytes = readFileSync(join(pgPath, name))
        return [name, `${bytes.length} ${createHash('sha1').update(bytes).digest('hex')}`]
      }),
  )
}

function copyTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o700 })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    if (entry.isDirectory()) copyTree(join(from, entry.name), join(to, entry.name))
    else copyFileSync(join(from, entry.name), join(to, entry.name))
  }
}
