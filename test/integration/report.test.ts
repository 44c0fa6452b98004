import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { renderPage } from '../../src/cli/render/page/page.ts'
import { aSiteReport } from '../support/builders/site-report.ts'
import { expectRefusal } from '../support/refusal.ts'
import { isInstalled } from '../support/processes/test-user.ts'
import { measureFigures, screenshot } from '../support/run/chromium.ts'
import { colours } from '../support/run/png.ts'
import { aSite, type Site } from '../support/sites/site.ts'

const FIGURES = ['timeline', 'sizes', 'added', 'durations', 'throughput', 'wal', 'drills'].map((name) => `s0r1-${name}`)

describe.skipIf(!isInstalled('chromium'))('a browser', () => {
  let dir = ''
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), 'pgts-report-'))
  })
  afterAll(() => rmSync(dir, { recursive: true, force: true }))

  test.each([1, 500])('draws the marks of every plot of %i backups inside its picture', (backups) => {
    const drawn = measureFigures(dir, renderPage(aSiteReport({ backups, gap: backups > 1, drills: 5 })))
    expect(drawn.map(({ id }) => id)).toEqual(FIGURES)
    for (const { id, marks, visible, tableRows } of drawn) {
      expect([id, visible]).toEqual([id, marks])
      const rows = id.endsWith('wal') ? Math.min(backups, 90) : id.endsWith('drills') ? 5 : backups
      expect([id, tableRows]).toEqual([id, rows])
      if (id !== 's0r1-sizes' && id !== 's0r1-drills') expect(marks).toBeGreaterThanOrEqual(Math.min(backups, 90))
    }
  })

  test.each([
    ['light', '252,252,251', '18,80,140'],
    ['dark', '20,23,26', '116,176,238'],
  ] as const)('shows the page in %s colours', (scheme, background, full) => {
    const found = colours(readFileSync(screenshot(dir, renderPage(aSiteReport({ backups: 30 })), scheme)))
    expect([...found][0]?.[0]).toBe(background)
    expect(found.get(full)).toBeGreaterThan(500)
  })
})

describe('pgts report', () => {
  let site: Site
  let label = ''
  beforeAll(async () => {
    site = await aSite()
    await site.pgtsOk('stanza-create')
    await site.pgtsOk('backup', '--type=full')
    await site.pgtsOk('backup', '--type=incr')
    const { stdout } = await site.pgtsOk('info', '--output=json')
    const [{ backup }] = JSON.parse(stdout) as [{ backup: { label: string }[] }]
    label = backup.at(-1)!.label
  })
  afterAll(() => site[Symbol.asyncDispose]())

  test('replaces the file of --file and prints nothing', async () => {
    const file = join(site.dir, 'report.html')
    for (const round of [1, 2]) {
      const { stdout, stderr } = await site.pgtsOk('report', `--file=${file}`)
      expect([round, stdout, stderr]).toEqual([round, '', ''])
    }
    const page = readFileSync(file, 'utf8')
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(page.startsWith('<!doctype html>')).toBe(true)
    expect(page.endsWith('</html>\n')).toBe(true)
    expect(page).toContain(label)
    expect(page).toContain('WAL archived per day')
  })

  test('prints the page without --file', async () => {
    const { stdout } = await site.pgtsOk('report')
    expect(stdout).toContain(`<h2>Stanza main</h2>`)
  })

  test('counts the archived WAL of today', async () => {
    const { stdout: listed } = await site.pgtsOk('repo-ls', '--recurse', '--output=json', 'archive/main')
    const segments = Object.entries(JSON.parse(listed) as Record<string, { size?: number }>).filter(([name]) =>
      /\/[0-9A-F]{24}-[0-9a-f]{40}/.test(name),
    )
    const { stdout } = await site.pgtsOk('report')
    const bars = [...stdout.matchAll(/ in (\d+) segments<\/title>/g)].map(([, count]) => Number(count))
    expect(bars.reduce((sum, count) => sum + count, 0)).toBe(segments.length)
  })

  test('shows the findings of doctor', async () => {
    const { stdout } = await site.pgts(['doctor', '--output=json'])
    const { findings } = JSON.parse(stdout) as { findings: { rule: string }[] }
    const file = join(site.dir, 'doctor.json')
    writeFileSync(file, stdout)
    const { stdout: page } = await site.pgtsOk('report', `--findings=${file}`)
    expect(findings.length).toBeGreaterThan(0)
    expect(
      [...page.matchAll(/<strong>(?:error|warning|notice)<\/strong>\s*<span class="quiet">([a-z-]+)/g)].map(
        ([, rule]) => rule,
      ),
    ).toEqual(findings.map(({ rule }) => rule))
    expectRefusal(await site.pgts(['report', `--findings=${site.dir}/absent.json`]), {
      code: 41,
      says: [`cannot read the findings in '${site.dir}/absent.json': no such file or directory`],
      hint: 'doctor --output=json',
    })
  })

  test('refuses a file that cannot be written', async () => {
    expectRefusal(await site.pgts(['report', `--file=${site.dir}/absent/report.html`]), {
      code: 64,
      says: [`cannot write the report to '${site.dir}/absent/report.html': no such file or directory`],
      hint: 'check that its directory exists',
    })
  })
})
