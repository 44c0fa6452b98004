import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { aSite, type Site } from '../support/sites/site.ts'
import { giveToTestUser, pgtsProgram, runAs, testUser } from '../support/processes/test-user.ts'

let site: Site
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, options: { 'repo1-retention-full': '2' } })
  await site.pgtsOk('stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

/** The output of pgts in a terminal of 80 columns. */
const seen = (...args: string[]) => seenWith('dumb', ...args)

async function seenWith(term: string, ...args: string[]): Promise<{ code: number | null; lines: string[] }> {
  const words = [pgtsProgram(), `--config=${site.config}`, '--stanza=main', ...args]
  const command = `TERM=${term}; export TERM; stty cols 80 rows 24; ${words.map((word) => `'${word}'`).join(' ')}`
  const { code, stdout } = await runAs(testUser, 'script', ['-qec', command, '/dev/null'], { cwd: site.dir })
  expect(stdout.replaceAll('\r\n', '')).not.toContain('\n')
  return { code, lines: stdout.split(/\r?\n/).filter((line) => line !== '') }
}

describe('at a terminal', () => {
  test('hints are indented by four columns, and in a pipe to the column of the text', async () => {
    const bad = ['--set=20200101-000000F', '--pg1-path=/nowhere', 'restore']
    const { code, lines } = await seen(...bad)
    expect(code).not.toBe(0)
    expect(lines.filter((line) => line.includes('HINT:'))).toEqual(lines.filter((line) => /^ {4}HINT: /.test(line)))
    const { stdout } = await site.pgts(bad)
    expect(stdout).toMatch(/^\d{4}-.* P00 {2}ERROR: \[\d{3}\]: .*\n {36}HINT: /m)
  })

  test('hints of an error before the log options are known are indented by four columns', async () => {
    const { lines } = await seen('--set=x', 'backup')
    expect(lines.join('\n')).toMatch(/^P00 {2}ERROR: .*\n {4}HINT: /)
  })

  test('backup, verify and restore end with one line of result', { timeout: 120_000 }, async () => {
    const backup = await seen('--log-level-console=info', 'backup')
    expect(backup.code).toBe(0)
    expect(backup.lines.at(-1)).toMatch(
      /^full backup \d{8}-\d{6}F: [\d.]+MB, [\d.]+MB stored, [\d.ms]+, repo1, \d+ files$/,
    )
    const incr = await seen('--type=incr', 'backup')
    expect(incr.lines.at(-1)).toMatch(
      /^incr backup \d{8}-\d{6}F_\d{8}-\d{6}I: [\d.]+[KM]?B, [\d.]+[KM]?B stored, [\d.ms]+/,
    )

    const verify = await seen('verify')
    expect(verify.code).toBe(0)
    expect(verify.lines).toEqual([
      expect.stringMatching(
        /^verify: no errors, [1-9]\d* files, [1-9]\d* WAL segments, [\d.]+MB read, 2 backups, [\d.ms]+$/,
      ),
    ])

    const target = join(site.dir, 'restored')
    mkdirSync(target, { mode: 0o700 })
    giveToTestUser(target)
    const restore = await seen(`--pg1-path=${target}`, 'restore')
    expect(restore.code).toBe(0)
    expect(restore.lines.at(-1)).toMatch(/^restored [1-9]\d* files, [\d.]+MB to \S+; start PostgreSQL$/)
    const plan = restore.lines.filter((line) => /^ {4}(backup|target|wal|fetch|write|delete|duration): /.test(line))
    expect(plan.map((line) => line.replaceAll(/\s+/g, ' ').trim())).toEqual([
      expect.stringMatching(/^backup: \d{8}-\d{6}F_\d{8}-\d{6}I, incr, [\d.]+MB, repo1$/),
      'target: end of the archive: can be reached',
      expect.stringMatching(/^wal: [0-9A-F]{24} to [0-9A-F]{24}$/),
      expect.stringMatching(/^fetch: [\d.]+MB$/),
      expect.stringMatching(/^write: \d+ files, [\d.]+MB$/),
      'delete: nothing',
      expect.stringMatching(/^duration: (unknown|about [\dms ]+), then replay of the WAL$/),
    ])
    for (const line of plan) expect(line.length).toBeLessThan(80)
    for (const { lines } of [incr, verify, restore]) expect(lines.at(-1)!.length).toBeLessThanOrEqual(80)
  })

  test(
    'a backup that waits shows a bar on a line of its own, and none without cursor movement',
    { timeout: 120_000 },
    async () => {
      const { cluster } = site
      const [row] = await cluster.query('show archive_command')
      const slow = `sleep 3; ${String(row!['archive_command'])}`
      await cluster.query(`alter system set archive_command = '${slow.replaceAll("'", "''")}'`)
      await cluster.query('select pg_reload_conf()')
      const { code, lines } = await seenWith('xterm', '--log-level-console=info', 'backup')
      await cluster.query('alter system reset archive_command')
      await cluster.query('select pg_reload_conf()')
      expect(code).toBe(0)
      const drawn = lines.flatMap((line) => line.split(/\x1b\[2K|\x1b\[1G/)).filter((part) => part !== '')
      const bars = drawn.filter((part) => /^(waiting for (checkpoint|WAL)|copying) /.test(part))
      expect(bars.length).toBeGreaterThan(0)
      for (const bar of bars) expect(bar.length).toBeLessThan(80)
      // A log line begins where the bar was removed.
      const logged = drawn.filter((part) => part.includes(' P00   INFO: '))
      expect(logged.length).toBeGreaterThan(5)
      for (const line of logged) expect(line).toMatch(/^\d{4}-\d\d-\d\d /)
      expect((await seen('backup')).lines.join('')).not.toContain('\x1b')
    },
  )

  test(
    'the line of result is not printed with --log-level-console=off, nor in a pipe',
    { timeout: 60_000 },
    async () => {
      expect((await seen('--log-level-console=off', 'verify')).lines).toEqual([])
      expect(await site.pgtsOk('verify')).toMatchObject({ stdout: '', stderr: '' })
      expect((await site.pgtsOk('backup')).stdout).not.toContain(' stored, ')
    },
  )
})

describe('in a pipe', () => {
  test('--output=json prints the report of a command and nothing else', { timeout: 90_000 }, async () => {
    const report = async (...args: string[]) => {
      const run = await site.pgtsOk('--output=json', ...args)
      expect(run.stdout).toMatch(/^\{.*\}\n$/)
      return JSON.parse(run.stdout) as Record<string, unknown>
    }
    const { label } = await report('--type=full', 'backup')
    expect(label).toMatch(/^\d{8}-\d{6}F$/)
    expect(await report('pin', String(label))).toEqual({ label, repoKeys: [1] })
    expect(await report('unpin', String(label))).toEqual({ label, repoKeys: [1] })
    expect(await report(`--set=${String(label)}`, '--annotation=a=b', 'annotate')).toEqual({ label, repoKeys: [1] })
    expect(await report('stanza-create')).toMatchObject({ stanza: 'main', repositories: [{ state: 'valid' }] })
    expect(await report('stanza-upgrade')).toMatchObject({ repositories: [{ repoKey: 1, changed: [] }] })
    expect(await report('check')).toMatchObject({ clusters: [{ pgKey: 1, role: 'primary' }] })
    expect(await report('stop')).toMatchObject({ already: false, signalled: [] })
    expect(await report('start')).toMatchObject({ removed: true })
    expect(await report('archive-allow')).toMatchObject({ stanza: 'main', changed: false })
    const target = join(site.dir, 'restored-json')
    expect(await report(`--pg1-path=${target}`, '--archive-mode=off', 'restore')).toMatchObject({ pgPath: target })
    expect((await site.pgtsOk('--output=text', 'start')).stdout).toMatch(/^P?.*removed: no\n/ms)
    expect(JSON.parse((await site.pgtsOk('--output=json', 'expire')).stdout)).toMatchObject([{ repo: 1 }])
  })
})
