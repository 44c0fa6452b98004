import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { documentedCommands, manPages } from '../../scripts/package/man.ts'
import { helpTopics } from '../../src/cli/render/help-topics.ts'
import { shownOptions } from '../../src/config/option-facts.ts'
import { withIndex } from '../../src/config/option-name.ts'
import { EXIT_CODES } from '../../src/util/error.ts'

const pages = manPages('1.2.3')

test('pgts and every command of its help have a manual page', () => {
  expect([...pages.keys()].sort()).toEqual(['pgts.1', ...documentedCommands.map((name) => `pgts-${name}.1`)].sort())
})

const hasGroff = spawnSync('groff', ['--version']).error === undefined

/** The page as a terminal of 80 columns shows it; fails on any warning of the formatter. */
function rendered(source: string): string {
  const options = ['-man', '-ww', '-Tutf8', '-Kutf8', '-P-cbou', '-rLL=78n']
  const { stdout, stderr, status } = spawnSync('groff', options, { input: source, encoding: 'utf8' })
  expect({ stderr, status }).toEqual({ stderr: '', status: 0 })
  return stdout
}

test.skipIf(!hasGroff).each(documentedCommands)('the page of %s has its options, without warnings', (command) => {
  const text = rendered(pages.get(`pgts-${command}.1`)!)
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  // Words divided at a line end would not be found.
  const names = new Set(text.match(/--(?:\[no-\])?[a-z0-9-]+/g) ?? [])
  for (const { name } of shownOptions(command)) {
    const written = withIndex(name, 1)
    expect(names.has(`--${written}`) || names.has(`--[no-]${written}`), `--${written}`).toBe(true)
  }
})

test.skipIf(!hasGroff)('the page of pgts has commands, situations and exit codes, without warnings', () => {
  const text = rendered(pages.get('pgts.1')!)
  for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(80)
  for (const command of documentedCommands) expect(text).toMatch(new RegExp(`^ +pgts-${command}\\(1\\)$`, 'm'))
  for (const topic of Object.keys(helpTopics)) expect(text).toContain(`pgts help ${topic}`)
  for (const code of Object.values(EXIT_CODES)) expect(text).toMatch(new RegExp(`^ +${code} `, 'm'))
  expect(text).toContain('/etc/pgts/pgts.yaml')
})
