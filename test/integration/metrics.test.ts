import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { get, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allProcesses, type FoundProcess, signal } from '../support/processes/processes.ts'
import {
  giveToTestUser,
  isInstalled,
  projectRoot,
  runAs,
  type RunResult,
  testUser,
} from '../support/processes/test-user.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { expectRefusal } from '../support/refusal.ts'
import { freePorts } from '../support/stores/free-port.ts'
import { until } from '../support/until.ts'

/** The metrics of pgbackrest_exporter 0.23 with their labels, from its README. */
const BACKUP = 'backup_name, backup_type, block_incr, database_id, repo_key, stanza'
const LAST = 'backup_type, block_incr, stanza'
const EXPORTER: Readonly<Record<string, string>> = {
  pgbackrest_stanza_backup_complete_bytes: 'stanza',
  pgbackrest_stanza_backup_total_bytes: 'stanza',
  pgbackrest_stanza_backup_lock_status: 'stanza',
  pgbackrest_stanza_restore_complete_bytes: 'stanza',
  pgbackrest_stanza_restore_total_bytes: 'stanza',
  pgbackrest_stanza_restore_lock_status: 'stanza',
  pgbackrest_stanza_status: 'stanza',
  pgbackrest_repo_status: 'cipher, repo_key, stanza',
  pgbackrest_backup_annotations: BACKUP,
  pgbackrest_backup_databases: BACKUP,
  pgbackrest_backup_references: `${BACKUP}, ref_backup`,
  pgbackrest_backup_duration_seconds: `${BACKUP}, start_time, stop_time`,
  pgbackrest_backup_error_status: BACKUP,
  pgbackrest_backup_info:
    'backrest_ver, backup_name, backup_type, block_incr, database_id, lsn_start, lsn_stop, pg_version, prior, repo_key, stanza, wal_start, wal_stop',
  pgbackrest_backup_delta_bytes: BACKUP,
  pgbackrest_backup_size_bytes: BACKUP,
  pgbackrest_backup_repo_delta_bytes: BACKUP,
  pgbackrest_backup_repo_size_bytes: BACKUP,
  pgbackrest_backup_repo_delta_map_bytes: BACKUP,
  pgbackrest_backup_repo_size_map_bytes: BACKUP,
  pgbackrest_backup_since_last_completion_seconds: LAST,
  pgbackrest_backup_last_annotations: LAST,
  pgbackrest_backup_last_databases: LAST,
  pgbackrest_backup_last_references: `${LAST}, ref_backup`,
  pgbackrest_backup_last_duration_seconds: LAST,
  pgbackrest_backup_last_error_status: LAST,
  pgbackrest_backup_last_delta_bytes: LAST,
  pgbackrest_backup_last_size_bytes: LAST,
  pgbackrest_backup_last_repo_delta_bytes: LAST,
  pgbackrest_backup_last_repo_size_bytes: LAST,
  pgbackrest_backup_last_repo_size_map_bytes: LAST,
  pgbackrest_backup_last_repo_delta_map_bytes: LAST,
  pgbackrest_wal_archive_status: 'database_id, pg_version, repo_key, stanza, wal_max, wal_min',
  pgbackrest_version_info: '',
  pgbackrest_exporter_build_info: 'branch, goarch, goos, goversion, revision, tags, version',
  pgbackrest_exporter_status: 'stanza',
}

interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

function parse(text: string): Series[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name = '', labels = '', value = ''] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [key, text])
      return { name, labels: Object.fromEntries(pairs) as Record<string, string>, value: Number(value) }
    })
}

const labelsOf = (one: Series) => Object.keys(one.labels).sort().join(', ')

/** The JSON of info, as the exporter reads it. */
interface InfoJson {
  readonly label: string
  readonly type: string
  readonly info: {
    readonly size: number
    readonly delta: number
    readonly repository: { readonly delta: number; readonly size?: number; readonly 'size-map'?: number }
  }
  readonly timestamp: { readonly start: number; readonly stop: number }
  readonly reference: readonly string[] | null
}

describe('metrics of a stanza with backups of both programs', () => {
  let site: Site
  let backups: readonly InfoJson[]

  beforeAll(async () => {
    site = await aSite({ options: { 'repo1-bundle': 'y', 'compress-type': 'gz', 'repo1-retention-full': '9' } })
    await site.pgtsOk('stanza-create')
    await site.pgbackrestOk('--type=full', '--annotation=made by=pgbackrest', 'backup')
    await site.pgtsOk('--type=diff', '--repo1-block', 'backup')
    await site.pgtsOk('--type=full', '--repo1-block', 'backup')
    await site.pgtsOk('--type=incr', '--repo1-block', '--annotation=a=b', '--annotation=c=d', 'backup')
    const { stdout } = await site.pgtsOk('--output=json', 'info')
    backups = (JSON.parse(stdout) as { backup: InfoJson[] }[])[0]!.backup
  })
  afterAll(() => site[Symbol.asyncDispose]())

  test('every metric of pgbackrest_exporter, with its labels', async () => {
    const series = parse((await site.pgtsOk('metrics', '--databases')).stdout)
    const found: Record<string, string> = {}
    for (const one of series.filter(({ name }) => name.startsWith('pgbackrest_'))) found[one.name] = labelsOf(one)
    const sorted = (labels: string) => labels.split(', ').sort().join(', ')
    expect(found).toEqual(Object.fromEntries(Object.entries(EXPORTER).map(([name, labels]) => [name, sorted(labels)])))
  })

  test('values are those of info', async () => {
    const series = parse((await site.pgtsOk('metrics', '--databases')).stdout)
    const of = (name: string, label: string) =>
      series.find((one) => one.name === `pgbackrest_backup_${name}` && one.labels['backup_name'] === label)?.value
    expect(backups.map(({ type }) => type)).toEqual(['full', 'diff', 'full', 'incr'])
    for (const { label, info, timestamp } of backups) {
      expect(of('size_bytes', label)).toBe(info.size)
      expect(of('delta_bytes', label)).toBe(info.delta)
      expect(of('repo_delta_bytes', label)).toBe(info.repository.delta)
      expect(of('repo_size_bytes', label)).toBe(info.repository.size ?? 0)
      expect(of('repo_size_map_bytes', label)).toBe(info.repository['size-map'] ?? 0)
      expect(of('duration_seconds', label)).toBe(timestamp.stop - timestamp.start)
      expect(of('databases', label)).toBe(1)
    }
    expect(backups.map(({ label }) => of('annotations', label))).toEqual([1, 0, 0, 2])
    const references = series.filter(
      ({ name, labels }) => name === 'pgbackrest_backup_references' && labels['backup_name'] === backups.at(-1)!.label,
    )
    expect(references.map(({ labels, value }) => [labels['ref_backup'], value])).toEqual([
      ['full', 1],
      ['diff', 0],
      ['incr', 0],
    ])
  })

  test('a full is also the last diff, and a newer incr is not', async () => {
    const series = parse((await site.pgtsOk('metrics')).stdout)
    const last = series.filter(({ name }) => name === 'pgbackrest_backup_last_size_bytes')
    const [, , full, incr] = backups
    expect(last.map(({ labels, value }) => [labels['backup_type'], value])).toEqual([
      ['full', full!.info.size],
      ['diff', full!.info.size],
      ['incr', incr!.info.size],
    ])
    const since = series.filter(({ name }) => name === 'pgbackrest_backup_since_last_completion_seconds')
    for (const { value } of since) expect(value).toBeLessThan(3600)
  })

  test.skipIf(!isInstalled('promtool'))('promtool accepts the text', async () => {
    const { stdout } = await site.pgtsOk('metrics', '--databases', '--wal-labels')
    const checked = spawnSync('promtool', ['check', 'metrics'], { input: stdout, encoding: 'utf8' })
    expect([checked.stderr, checked.status]).toEqual(['', 0])
  })

  test.skipIf(!isInstalled('promtool'))('promtool accepts the alerts of the guide', () => {
    const guide = readFileSync(join(projectRoot, 'docs/guide/monitoring.md'), 'utf8')
    const rules = /```yaml\n([^`]*)```/.exec(guide)?.[1] ?? ''
    const file = join(site.dir, 'rules.yaml')
    writeFileSync(file, rules)
    const checked = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' })
    expect(checked.stdout + checked.stderr).toContain(`SUCCESS: ${rules.match(/- alert:/g)!.length} rules found`)
  })

  test.skipIf(!isInstalled('promtool'))('the dashboard for Grafana asks for metrics that exist', async () => {
    const dashboard = JSON.parse(readFileSync(join(projectRoot, 'docs/guide/grafana-dashboard.json'), 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[]
    }
    const known = new Set(parse((await site.pgtsOk('metrics')).stdout).map(({ name }) => name))
    const described = readFileSync(join(projectRoot, 'docs/guide/monitoring.md'), 'utf8')
    const asked = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
    expect(asked.length).toBeGreaterThan(10)
    for (const metric of asked.flatMap((expr) => expr.match(/\b(pgts|pgbackrest)_\w+/g) ?? []))
      expect([metric, known.has(metric) || described.includes(`\`${metric}\``)]).toEqual([metric, true])
    const file = join(site.dir, 'dashboard.json')
    const rules = asked.map((expr, index) => ({ record: `panel:${index}`, expr: expr.replaceAll('$stanza', 'main') }))
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }))
    const checked = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' })
    expect(checked.stdout + checked.stderr).toContain(`SUCCESS: ${asked.length} rules found`)
  })

  test('the segments are labels with --wal-labels only', async () => {
    const walOf = async (...args: string[]) =>
      parse((await site.pgtsOk('metrics', ...args)).stdout).find(
        ({ name }) => name === 'pgbackrest_wal_archive_status',
      )!
    expect((await walOf()).labels['wal_max']).toBe('')
    const { labels, value } = await walOf('--wal-labels')
    expect(labels['wal_min']).toMatch(/^[0-9A-F]{24}$/)
    expect(labels['wal_max']! >= labels['wal_min']!).toBe(true)
    expect(value).toBe(1)
  })

  test('a host without the server: every stanza, and nothing about archiving', async () => {
    const args = ['--no-config', `--repo1-path=${site.repo}`, `--lock-path=${site.dir}/lock`, 'metrics']
    const { code, stdout } = await runAs(testUser, site.program, args, { cwd: site.dir })
    expect(code).toBe(0)
    const series = parse(stdout)
    expect(series.find(({ name }) => name === 'pgbackrest_exporter_status')?.labels['stanza']).toBe('all-stanzas')
    expect(series.filter(({ name }) => name === 'pgbackrest_backup_info')).toHaveLength(4)
    expect(series.some(({ name }) => name.startsWith('pgts_archive_'))).toBe(false)
  })

  test('archiving on the host of the server', async () => {
    const series = parse((await site.pgtsOk('metrics')).stdout)
    const archiving = series.filter(({ name }) => name.startsWith('pgts_archive_'))
    expect(archiving.find(({ name }) => name === 'pgts_archive_state')?.value).toBe(0)
    expect(archiving.find(({ name }) => name === 'pgts_archive_since_last_success_seconds')?.value).toBeGreaterThan(-1)
    expect(archiving.every(({ labels }) => labels['stanza'] === 'main')).toBe(true)
  })

  test('the age of the last verification, after the first one', async () => {
    const ages = async () =>
      parse((await site.pgtsOk('metrics')).stdout).filter(({ name }) => name === 'pgts_verify_since_oldest_seconds')
    expect(await ages()).toEqual([])
    await site.pgtsOk('verify')
    const [age, ...others] = await ages()
    expect(others).toEqual([])
    expect(age?.labels).toEqual({ repo_key: '1', stanza: 'main' })
    expect(age?.value).toBeLessThan(600)
  })

  test('--file replaces a file that everyone can read, and prints nothing', async () => {
    const dir = join(site.dir, 'textfile')
    mkdirSync(dir)
    giveToTestUser(dir)
    const { stdout, stderr } = await site.pgtsOk('metrics', `--file=${dir}/pgts.prom`)
    expect([stdout, stderr]).toEqual(['', ''])
    expect(readdirSync(dir)).toEqual(['pgts.prom'])
    expect(statSync(join(dir, 'pgts.prom')).mode & 0o777).toBe(0o644)
    expect(readFileSync(join(dir, 'pgts.prom'), 'utf8')).toContain('pgbackrest_stanza_status{stanza="main"} 0\n')
  })

  test('a directory without permission is an error that names the file, and leaves nothing', async () => {
    const dir = join(site.dir, 'read-only')
    mkdirSync(dir)
    giveToTestUser(dir)
    chmodSync(dir, 0o555)
    const { code, stdout } = await site.pgts(['metrics', `--file=${dir}/pgts.prom`])
    expect(code).toBe(64)
    expect(stdout).toContain(`cannot write the metrics to '${dir}/pgts.prom'`)
    expect(existsSync(join(dir, 'pgts.prom'))).toBe(false)
    expect(readdirSync(dir)).toEqual([])
  })

  test('a repository that cannot be read has status 99', async () => {
    const { stdout } = await site.pgtsOk('metrics', '--repo1-path=/nowhere')
    const series = parse(stdout)
    expect(series.find(({ name }) => name === 'pgbackrest_exporter_status')?.value).toBe(1)
    expect(series.find(({ name }) => name === 'pgbackrest_stanza_status')?.value).toBeGreaterThan(0)
  })

  describe('--listen', () => {
    const fetched = (port: number, path: string, method = 'GET') =>
      new Promise<{ status: number; type: string; body: string }>((resolve, reject) => {
        const asked = (method === 'GET' ? get : request)({ port, path, method, host: '127.0.0.1' }, (response) => {
          let body = ''
          response.on('data', (piece: Buffer) => (body += piece.toString()))
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body }),
          )
        })
        asked.on('error', reject)
        asked.end()
      })

    /** Runs until `work` is done, then gets SIGTERM. */
    async function whileListening(args: readonly string[], work: (port: number) => Promise<void>): Promise<RunResult> {
      const [port = 0] = await freePorts(1)
      const ended = site.pgts([`--listen=${port}`, ...args, '--log-level-console=info', 'metrics'])
      try {
        await until('the endpoint', async () => (await fetched(port, '/').catch(() => undefined))?.status === 200)
        await work(port)
      } finally {
        const isIt = ({ args: words }: FoundProcess) => words.includes(`--listen=${port}`) && words.includes('metrics')
        for (const { pid } of allProcesses().filter(isIt)) signal(pid, 'SIGTERM')
      }
      return ended
    }

    test('answers like a collection, for as long as the interval with the same text', async () => {
      await whileListening(['--interval=1h'], async (port) => {
        const first = await fetched(port, '/metrics')
        expect(first.status).toBe(200)
        expect(first.type).toContain('text/plain; version=0.0.4')
        expect(parse(first.body).filter(({ name }) => name === 'pgbackrest_backup_info')).toHaveLength(4)
        const together = await Promise.all(Array.from({ length: 20 }, () => fetched(port, '/metrics')))
        for (const { body } of together) expect(body).toBe(first.body)
        expect((await fetched(port, '/other')).status).toBe(404)
        expect((await fetched(port, '/metrics', 'POST')).status).toBe(405)
      })
    })

    test('a new backup appears after the interval, and SIGTERM ends it with 0', async () => {
      const { code, stdout } = await whileListening(['--interval=0'], async (port) => {
        const count = async () =>
          parse((await fetched(port, '/metrics')).body).filter(({ name }) => name === 'pgbackrest_backup_info').length
        const before = await count()
        await site.pgtsOk('--type=incr', 'backup')
        expect(await count()).toBe(before + 1)
      })
      expect(stdout).toMatch(/INFO: metrics at http:\/\/127\.0\.0\.1:\d+\/metrics/)
      expect(code).toBe(0)
    })

    test('a port in use, a bad address and two outputs are errors that say what to do', async () => {
      await whileListening([], async (port) => {
        const used = await site.pgts([`--listen=${port}`, 'metrics'])
        expectRefusal(used, {
          code: 49,
          says: [`cannot listen on 127.0.0.1 port ${port}`],
          hint: 'give another port with --listen',
        })
      })
      const bad = await site.pgts(['--listen=localhost:http', 'metrics'])
      expectRefusal(bad, { code: 32, says: ["'localhost:http' is not valid for 'listen' option"], hint: '[::1]:9854' })
      const both = await site.pgts(['--listen=0', '--file=/tmp/x.prom', 'metrics'])
      expectRefusal(both, { code: 31, says: ['--file and --listen cannot be used together'], hint: '--listen answers' })
    })
  })
})
