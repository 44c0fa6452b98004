import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client, infoOf, SERVICE_VARIABLES, type InfoStanza } from '../../support/sites/client.ts'
import { aSite, type Site } from '../../support/sites/site.ts'

// Exporters, checks and scripts that read the output (rows E, F, G1, G5, I, L, M, N, O, R). The site has a full and an
// incremental backup.

let site: Site
let client: Client

beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, options: { 'log-level-console': 'info' } })
  client = new Client()
  // The clients without --config read /etc/pgbackrest.
  Object.assign(client.env, { PGBACKREST_CONFIG: site.config })
  await client.ok(['--stanza=main', 'stanza-create'])
  await client.ok(['--stanza=main', '--type=full', 'backup'])
  await client.ok(['--stanza=main', '--type=incr', '--annotation=k=v', 'backup'])
}, 120_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const labels = async () => infoOf(await client.ok(['info', '--output=json']))[0]!.backup.map(({ label }) => label)

/** Every member by its path, with the type of its value: `backup[].info.size: number`. */
function shape(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return [...new Set(value.flatMap((one: unknown) => shape(one, `${path}[]`)))]
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([key, member]) => shape(member, path === '' ? key : `${path}.${key}`))
  return [`${path}: ${value === null ? 'null' : typeof value}`]
}

describe('E, B7: pgbackrest_exporter', () => {
  /** The members that it reads, all required; `?` may be absent. */
  const READ = `
    [].name: string
    [].cipher: string
    [].status.code: number
    [].status.message: string
    [].status.lock.backup.held: boolean
    [].status.lock.restore.held: boolean
    [].repo[].key: number
    [].repo[].cipher: string
    [].repo[].status.code: number
    [].repo[].status.message: string
    [].db[].id: number
    [].db[].repo-key: number
    [].db[].system-id: number
    [].db[].version: string
    [].archive[].id: string
    [].archive[].min: string
    [].archive[].max: string
    [].archive[].database.id: number
    [].archive[].database.repo-key: number
    [].backup[].archive.start: string
    [].backup[].archive.stop: string
    [].backup[].backrest.format: number
    [].backup[].backrest.version: string
    [].backup[].database.id: number
    [].backup[].database.repo-key: number
    [].backup[].error: boolean
    [].backup[].info.delta: number
    [].backup[].info.size: number
    [].backup[].info.repository.delta: number
    [].backup[].label: string
    [].backup[].lsn.start: string
    [].backup[].lsn.stop: string
    [].backup[].prior: null
    [].backup[].prior: string
    [].backup[].reference: null
    [].backup[].reference[]: string
    [].backup[].timestamp.start: number
    [].backup[].timestamp.stop: number
    [].backup[].type: string
    [].backup[].annotation.k: string`
    .trim()
    .split(/\n\s+/)

  test('reads info and finds every member with its type', async () => {
    const found = new Set(shape(JSON.parse(await client.ok(['info', '--output', 'json']))))
    expect(READ.filter((line) => !found.has(line))).toEqual([])
  })

  test('reads the databases, links and tablespaces of one backup', async () => {
    const [, label = ''] = await labels()
    const common = ['--config', site.config, '--stanza', 'main', '--set', label]
    const [stanza] = JSON.parse(await client.ok(['info', '--output', 'json', ...common])) as [{ backup: object[] }]
    expect(stanza.backup).toMatchObject([{ label, 'database-ref': expect.any(Array) as unknown[] }])
    expect(Object.keys(stanza.backup[0]!)).toEqual(expect.arrayContaining(['link', 'tablespace']))
  })

  test.each([
    ['full', ['full']],
    ['incr', ['incr']],
    ['diff', []],
  ])('reads the backups of type %s', async (type, types) => {
    const stanzas = infoOf(await client.ok(['info', '--output', 'json', '--type', type]))
    expect(stanzas.flatMap(({ backup }) => backup.map((one) => one.type))).toEqual(types)
  })

  test('parses the version as a number', async () => {
    expect(Number.parseFloat(await client.ok(['version', '--output', 'num']))).toBeGreaterThanOrEqual(2_050_000)
  })
})

describe('F: check_pgbackrest', () => {
  test('reads JSON from stdout and stderr as one', async () => {
    const script = 'pgbackrest info --stanza=main --output=json --log-level-console=error 2>&1 | grep -v ^ERROR:'
    const { stdout } = await client.sh(script, { env: SERVICE_VARIABLES })
    expect(infoOf(stdout)).toMatchObject([{ name: 'main', status: { code: 0 } }])
  })

  test('lists the archive with type, size and time, and nothing for a path that does not exist', async () => {
    const list = async (path: string) => {
      const args = [
        'repo-ls',
        '--stanza=main',
        path,
        '--output=json',
        '--log-level-console=error',
        '--repo=1',
        '--recurse',
      ]
      return JSON.parse(await client.ok(args)) as Record<string, object>
    }
    const files = Object.entries(await list('archive/main/15-1'))
    const segments = files.filter(([name]) => /\/[0-9A-F]{24}-[0-9a-f]{40}\.gz$/.test(name))
    expect(segments.length).toBeGreaterThan(0)
    for (const [, entry] of segments)
      expect(entry).toEqual({ type: 'file', size: expect.any(Number) as number, time: expect.any(Number) as number })
    // As stock: object stores have no paths.
    expect(await list('archive/other')).toEqual({ '.': { type: 'path' } })
  })

  test('reads a file of the repository', async () => {
    const args = ['repo-get', '--stanza=main', 'archive/main/archive.info', '--log-level-console=error', '--repo=1']
    expect(await client.ok(args)).toMatch(/^\[backrest\]\nbackrest-format=5\n/)
  })

  test('compares the version as text', async () => {
    const { stdout } = await client.sh("pgbackrest version | sed 's/pgBackRest //'")
    expect(stdout.trim() >= '2.33').toBe(true)
    expect((await client.sh("pgbackrest version | awk '{print $2}'")).stdout).toBe(stdout)
  })
})

describe('Canonical charm', () => {
  test('G1: timestamp has start and stop in this order, and every backup has error and reference', async () => {
    const [stanza] = infoOf(await client.ok([`--config=${site.config}`, 'info', '--output=json']))
    for (const backup of stanza!.backup) {
      expect(Object.keys(backup.timestamp)).toEqual(['start', 'stop'])
      expect(backup.error).toBe(false)
      expect(backup.reference === null || Array.isArray(backup.reference)).toBe(true)
    }
  })

  test('G5: repo-ls without a stanza filters names', async () => {
    const args = ['repo-ls', 'archive', '--recurse', '--filter', '\\.history$', '--output=json']
    expect(JSON.parse(await client.ok(args))).toEqual({})
    writeFileSync(join(site.repo, 'archive/main/15-1/00000002.history'), 'x')
    expect(Object.keys(JSON.parse(await client.ok(args)) as object)).toEqual(['main/15-1/00000002.history'])
  })
})

describe('scripts', () => {
  test('I: pgEdge lists a stanza that does not exist, and finds the literal text of a stanza without backups', async () => {
    const config = ['--config', site.config, '--stanza', 'other']
    const [stanza] = infoOf(await client.ok([...config, 'info', '--output=json']))
    expect(stanza).toMatchObject({ name: 'other', status: { code: 1 }, backup: [] })
    // pg1-host-user without pg1-host is in its configuration.
    const own = join(client.bin, 'pgedge.conf')
    const lines = [
      '[global]',
      `repo1-path=${join(client.bin, 'pgedge')}`,
      `lock-path=${client.bin}`,
      'log-level-file=off',
      '[db]',
      'pg1-host-user=postgres',
    ]
    const pg = Object.entries(site.cluster.pgOptions()).map(([name, value]) => `${name}=${value}`)
    writeFileSync(own, [...lines, ...pg, ''].join('\n'))
    const db = ['--config', own, '--stanza', 'db']
    await client.ok([...db, 'stanza-create', '--io-timeout=10s'])
    expect(await client.ok([...db, 'info', '--output=json'])).toContain('no valid backups')
  })

  test('L: pigsty reads info as one line without tabs and backslashes', async () => {
    const text = await client.ok(['--output=json', 'info'])
    expect(text.trim()).not.toMatch(/[\n\t\\]/)
  })

  test('M: timescale reads the newest segment', async () => {
    const [stanza] = infoOf(await client.ok(['info', '--output=json']))
    expect(stanza!.archive[0]!.max).toMatch(/^[0-9A-F]{24}$/)
  })

  test('N: pgmonitor reads one document with a numeric version, with the stanza in the environment', async () => {
    const { stdout } = await client.sh("pgbackrest --output=json info | tr -d '\\n'", {
      env: { PGBACKREST_STANZA: 'main' },
    })
    for (const { backrest } of infoOf(stdout)[0]!.backup) expect(backrest.version).toMatch(/^\d+\.\d+\.\d+$/)
  })

  test('O: pgbackrest_auto reads version and size of the last backup', async () => {
    const [stanza] = JSON.parse(await client.ok(['info', '--stanza', 'main', '--output=json'])) as [InfoStanza]
    expect([stanza.db.at(-1)?.version, stanza.backup.at(-1)?.info.size]).toEqual(['15', expect.any(Number)])
  })

  test('R: puppet-pgbackrest finds a missing stanza in the text of info', async () => {
    expect((await client.sh("pgbackrest info --stanza=absent | grep -q 'missing stanza'")).code).toBe(0)
    expect((await client.sh("pgbackrest info --stanza=main | grep -q 'missing stanza'")).code).toBe(1)
    const log = join(client.bin, 'cron.log')
    const levels = '--log-level-console=info --log-level-stderr=off --log-level-file=off'
    const backup = `pgbackrest backup --repo=1 --stanza=main --type=incr --pg1-user=postgres --process-max=2 --compress-type=lz4 --compress-level=1 --archive-timeout=20 ${levels} --log-path=${client.bin} >> ${log} 2>&1`
    expect(await client.sh(backup)).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect((await client.sh(`cat ${log}`)).stdout).toMatch(/backup command end: completed successfully/)
  })
})
