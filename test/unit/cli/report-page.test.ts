import { describe, expect, test } from 'vitest'
import { renderPage } from '../../../src/cli/render/page/page.ts'
import { parseExamined } from '../../../src/core/report/examined.ts'
import { linearScale, timeScale } from '../../../src/cli/render/page/scale.ts'
import { aSiteReport, DAY, NOW } from '../../support/builders/site-report.ts'

describe('a page', () => {
  test('shows a stanza without a backup', () => {
    const page = renderPage(aSiteReport({ backups: 0 }))
    expect(page).toContain('<dd>none <small>no backup can be restored</small></dd>')
    expect(page).not.toContain('<figure')
    expect(page).not.toContain('NaN')
  })

  test('says what to do when no repository has a stanza', () => {
    expect(renderPage({ createdSeconds: NOW, stanzas: [] })).toContain('<code>pgts stanza-create</code>')
  })

  test('draws a mark for each backup in each plot of backups', () => {
    const page = renderPage(aSiteReport({ backups: 14 }))
    expect(page.match(/<figure id="[^"]+"/g)).toEqual(
      ['timeline', 'sizes', 'added', 'durations', 'throughput', 'wal'].map((name) => `<figure id="s0r1-${name}"`),
    )
    for (const plot of ['timeline', 'added', 'durations', 'throughput']) {
      const figure = page.slice(page.indexOf(`id="s0r1-${plot}"`)).split('</figure>', 1)[0]!
      const marks = figure.slice(figure.indexOf('class="marks"')).match(/class="mark (full|diff|incr)"/g)
      expect([plot, marks?.length]).toEqual([plot, 14])
    }
    expect(page).not.toMatch(/NaN|Infinity|undefined/)
  })

  test('escapes names and annotations from the repository', () => {
    const page = renderPage(aSiteReport({ backups: 1, name: '<script>alert(1)</script>', note: '"><img src=x>' }))
    expect(page).not.toContain('<script')
    expect(page).not.toContain('<img')
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(page).toContain('&quot;&gt;&lt;img src=x&gt;')
  })

  test('loads nothing and runs no script', () => {
    const page = renderPage(aSiteReport({ backups: 20 }))
    expect(page).toContain(`content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;"`)
    expect(page).not.toMatch(/(src|href)=|url\(|@import|<script/)
  })

  test('shows the result of the last drill, and every drill in a plot and a table', () => {
    expect(renderPage(aSiteReport({ backups: 1 }))).toContain('<dd>none <small>no restore has been tried</small></dd>')
    const page = renderPage(aSiteReport({ backups: 30, drills: 4 }))
    expect(page).toContain('<dd>passed 4d00h ago <small>restored and checked in 4m30s</small></dd>')
    const plot = page.slice(page.indexOf('id="s0r1-drills"'))
    const marks = plot.slice(plot.indexOf('class="marks"')).matchAll(/class="mark (\w+)"/g)
    expect([...marks].map(([, kind]) => kind)).toEqual(['passed', 'error', 'failed', 'passed'])
    expect(plot).toContain('<td>the drill 2 did not succeed</td>')
  })

  test('shows the findings of doctor with the next command', () => {
    const report = aSiteReport({ backups: 1 })
    const finding = {
      rule: 'backup-age',
      severity: 'error',
      message: 'too old <b>',
      why: 'It matters',
      next: ['pgts backup'],
    }
    const text = JSON.stringify({ stanza: 'main', timeMs: NOW * 1000, findings: [finding] })
    const examined = parseExamined(text, 'f.json')
    const page = renderPage({ ...report, stanzas: report.stanzas.map((stanza) => ({ ...stanza, examined })) })
    expect(page).toContain('too old &lt;b&gt;')
    expect(page).toContain('<pre>pgts backup</pre>')
    expect(page).toContain('<li class="bad">')
    const none = { ...examined, findings: [] }
    expect(renderPage({ ...report, stanzas: [{ ...report.stanzas[0]!, examined: none }] })).toContain('No findings by')
  })

  test.each(['', '[]', '{"stanza":"main"}', '{"stanza":"main","timeMs":1,"findings":[{"rule":1}]}'])(
    'refuses %j as the output of doctor',
    (text) => {
      expect(() => parseExamined(text, 'f.json')).toThrow("'f.json' is not the output of doctor")
    },
  )

  test('shows gaps of the window with their range', () => {
    const page = renderPage(aSiteReport({ backups: 7, gap: true }))
    expect(page).toContain('class="mark gap"')
    expect(page).toMatch(/to 2026-11-30 [0-9:+]+, 1 gap<\/small>/)
  })
})

describe('a scale', () => {
  test.each([
    [1, ['0B', '1B']],
    [7 * 1024 ** 2, ['0B', '2MB', '4MB', '6MB', '8MB']],
    [900 * 1024 ** 3, ['0B', '200GB', '400GB', '600GB', '800GB', '1000GB']],
    [1023 * 1024, ['0B', '500KB', '1000KB', '1.5MB']],
  ])('of %i bytes has round ticks', (most, labels) => {
    const { ticks } = linearScale(most, [200, 0], 'bytes')
    expect(ticks.at(-1)!.value).toBeGreaterThanOrEqual(most)
    if (most !== 1023 * 1024) expect(ticks.map(({ label }) => label)).toEqual(labels)
    expect(ticks.length).toBeLessThan(8)
  })

  test('of nothing still has two ticks', () => {
    const { at, ticks } = linearScale(0, [200, 0], 'seconds')
    expect(ticks).toHaveLength(2)
    expect(at(0)).toBe(200)
  })

  test.each([
    [600, 'minutes'],
    [DAY, 'hours'],
    [9 * DAY, 'days'],
    [60 * DAY, 'weeks'],
    [700 * DAY, 'months'],
    [9000 * DAY, 'years'],
  ])('of %i s has a few ticks within the range, at %s', (length) => {
    const { ticks } = timeScale([NOW - length, NOW], [0, 100])
    expect(ticks.length).toBeGreaterThan(1)
    expect(ticks.length).toBeLessThan(12)
    for (const { value } of ticks) expect(value >= NOW - length && value <= NOW).toBe(true)
    expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length)
  })
})
