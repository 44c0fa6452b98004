// Makes pgbackrest/2.59.1-blocks-*: `node scripts/run.mjs test/vectors/make-block-repositories.ts PGBACKREST BIN OUT`,
// with the path of pgbackrest 2.59.1 and the bin directory of PostgreSQL 15. The data directory is that of a new cluster
// that was never started, without files that a backup does not need, and with files whose pages are generated here.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [pgbackrest = '', bin = '', out = ''] = process.argv.slice(2)
const work = '/tmp/pgts-vectors'
const pg = join(work, 'blocks')
const PASSPHRASE = 'vectors of pgts'
const KIB = 1024

const variants: Record<string, string[]> = {
  gz: ['--compress-type=gz'],
  'zst-encrypted': ['--compress-type=zst', '--repo1-cipher-type=aes-256-cbc'],
  lz4: ['--compress-type=lz4', '--repo1-block-size-super=32KiB', '--repo1-block-size-super-full=32KiB'],
  none: ['--compress-type=none'],
  'bz2-encrypted': ['--compress-type=bz2', '--repo1-cipher-type=aes-256-cbc'],
}

/** Words that repeat, so that a megabyte of pages is stored in a few kilobytes; `seed` makes contents different. */
function content(seed: number, bytes: number): Buffer {
  const line = createHash('sha1').update(String(seed)).digest('hex')
  return Buffer.from(line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes), 'latin1')
}

const files = new Map<string, Buffer>()
let clock = 0
/** Uncompressed content must be small. */
let fewFiles = false

function isLeftOut(name: string): boolean {
  return fewFiles && ['50001', '50005', '50006', '50007', '50008'].includes(name)
}

function put(name: string, bytes: Buffer): void {
  if (isLeftOut(name)) return
  files.set(name, bytes)
  const path = join(pg, 'base/5', name)
  writeFileSync(path, bytes, { mode: 0o600 })
  // Times in the past, so that pgbackrest trusts them; `old` is so long ago that its blocks are larger.
  const time = name === '50007' && clock === 0 ? ago(20 * 86_400) : ago(3600 - clock * 60)
  utimesSync(path, time, time)
}

function ago(seconds: number): number {
  return Math.floor(Date.now() / 1000) - seconds
}

/** Overwrites some blocks of 8 KiB. */
function change(name: string, blocks: number[], seed: number): void {
  if (isLeftOut(name)) return
  const bytes = Buffer.from(files.get(name)!)
  for (const block of blocks) {
    const start = block * 8 * KIB
    content(seed * 1000 + block, Math.min(8 * KIB, bytes.length - start)).copy(bytes, start)
  }
  put(name, bytes)
}

/** Truncates a file, or appends to it. */
function resize(name: string, bytes: number, seed: number): void {
  if (isLeftOut(name)) return
  const before = files.get(name)!
  const more = Math.max(0, bytes - before.length)
  put(name, Buffer.concat([before.subarray(0, bytes), content(seed, more)]))
}

const steps: [string, () => void][] = [
  [
    'full',
    () => {
      for (const [index, size] of [48, 192, 40, 24, 10, 64, 128, 200, 96].entries()) {
        const pages = Array.from({ length: size / 8 + 1 }, (_, page) => content(index * 100 + page, 8 * KIB))
        put(`5000${index}`, Buffer.concat(pages).subarray(0, size * KIB + (index === 2 ? 77 : 0)))
      }
    },
  ],
  [
    'diff',
    () => {
      change('50000', [1], 2)
      change('50001', [0, 7, 8, 23], 2)
      resize('50002', 59_000, 2)
      resize('50006', 64 * KIB, 2)
      change('50007', [5], 2)
    },
  ],
  [
    'incr',
    () => {
      change('50000', [3], 3)
      resize('50000', 56 * KIB, 3)
      change('50001', [3, 8, 9], 3)
      resize('50003', 5 * KIB, 3)
      resize('50004', 30 * KIB, 3)
      resize('50006', 72 * KIB, 3)
    },
  ],
  [
    'incr',
    () => {
      change('50001', [8, 12, 13, 14], 4)
      resize('50001', 160 * KIB, 4)
      resize('50002', 50_000, 4)
      resize('50003', 40 * KIB, 4)
      change('50007', [0, 24], 4)
      resize('50008', 0, 4)
    },
  ],
  [
    'diff',
    () => {
      change('50000', [0, 1, 2, 3, 4, 5], 5)
      resize('50001', 400 * KIB, 5)
      resize('50008', 32 * KIB, 5)
    },
  ],
  [
    'incr',
    () => {
      change('50001', [49, 20, 4], 6)
      resize('50000', 8 * KIB, 6)
    },
  ],
]

for (const [variant, options] of Object.entries(variants)) {
  rmSync(work, { recursive: true, force: true })
  mkdirSync(work)
  execFileSync(join(bin, 'initdb'), ['-D', pg, '--no-sync', '-U', 'postgres', '--no-locale'], { stdio: 'ignore' })
  for (const name of readdirSync(pg)) {
    if (!['PG_VERSION', 'global', 'base', 'pg_wal', 'pg_tblspc'].includes(name)) rmSync(join(pg, name), { recursive: true })
  }
  for (const name of readdirSync(join(pg, 'global'))) if (name !== 'pg_control') rmSync(join(pg, 'global', name))
  rmSync(join(pg, 'pg_wal/000000010000000000000001'))
  for (const name of ['1', '4']) rmSync(join(pg, 'base', name), { recursive: true })
  for (const name of readdirSync(join(pg, 'base/5'))) if (name !== 'PG_VERSION') rmSync(join(pg, 'base/5', name))
  files.clear()
  fewFiles = variant === 'none'
  const run = (...args: string[]) =>
    execFileSync(
      pgbackrest,
      [
        '--stanza=demo',
        `--pg1-path=${pg}`,
        `--repo1-path=${work}/repo`,
        `--log-path=${work}`,
        `--lock-path=${work}`,
        '--no-online',
        '--log-level-console=warn',
        ...options.filter((option) => args[0] === 'backup' || option.includes('cipher')),
        ...args,
      ],
      { env: { PGBACKREST_REPO1_CIPHER_PASS: options.some((o) => o.includes('cipher')) ? PASSPHRASE : undefined } },
    )
  run('stanza-create')
  const sums: string[] = []
  for (const [index, [type, edit]] of steps.entries()) {
    clock = index
    edit()
    const bundle = ['--repo1-bundle', '--repo1-block', '--repo1-bundle-limit=96KiB', '--repo1-bundle-size=1MiB']
    run('backup', `--type=${type}`, '--repo1-retention-full=9', ...bundle)
    const labels = readdirSync(join(work, 'repo/backup/demo')).filter((name) => /^\d{8}-\d{6}F/.test(name))
    const known = new Set(sums.map((line) => line.split(' ')[0]))
    const label = labels.find((name) => !known.has(name))!
    for (const [name, bytes] of files) {
      sums.push(`${label} base/5/${name} ${bytes.length} ${createHash('sha1').update(bytes).digest('hex')}`)
    }
  }
  const target = join(out, `2.59.1-blocks-${variant}`)
  rmSync(target, { recursive: true, force: true })
  cpSync(join(work, 'repo'), join(target, 'repo'), { recursive: true, filter: (path) => !/latest$|backup\.history/.test(path) })
  writeFileSync(join(target, 'content.txt'), sums.join('\n') + '\n')
  console.log(variant, readFileSync(join(target, 'content.txt'), 'latin1').split('\n').length)
}
