import { describe, expect, test } from 'vitest'
import { openConfigFile } from '../../../../src/config/change/config-file.ts'
import { parseYaml } from '../../../../src/config/sources/yaml.ts'

const change = {
  global: [
    { option: 'repo-path', key: 1, value: '/backup' },
    { option: 'repo-cipher-type', key: 1, value: 'aes-256-cbc' },
    { option: 'repo-cipher-pass', key: 1, value: 'a: b # c' },
    { option: 'archive-async', key: 0, value: true },
  ],
  stanza: 'main',
  ofStanza: [
    { option: 'pg-path', key: 1, value: '/pg' },
    { option: 'pg-port', key: 1, value: 5433 },
  ],
}
const withText = (path: string, text: string | undefined) =>
  openConfigFile(path, { read: () => text, list: () => undefined, mode: () => 0o640 })

describe('a pgts.yaml', () => {
  test('that is new has the settings, and can be read again', async () => {
    const text = await (await withText('/etc/pgts/pgts.yaml', undefined)).changed(change)
    const again = await withText('/etc/pgts/pgts.yaml', text)
    expect(again.stanzas).toEqual(['main'])
    expect(again.valueOf('repo1-cipher-pass', 'main')).toBe('a: b # c')
    expect(again.valueOf('archive-async', 'main')).toBe('y')
    expect(again.valueOf('pg1-port', 'main')).toBe('5433')
    expect(again.hasRepository('main')).toBe(true)
  })

  test('that exists keeps its comments and order when a stanza is added', async () => {
    const before =
      '# ours\nglobal:\n  repo: [{ path: /backup }] # on the NAS\n\nstanza:\n  # the first\n  a:\n    pg: [{ path: /a }]\n'
    const after = await (await withText('/x.yaml', before)).changed({ ...change, global: [] })
    expect(after.startsWith(before)).toBe(true)
    expect(after.slice(before.length)).toBe('  main:\n    pg:\n      - path: /pg\n        port: 5433\n')
    await parseYaml(after, '/x.yaml')
  })

  test('is shown without its secrets', async () => {
    const lines = await (await withText('/x.yaml', undefined)).shown(change)
    expect(lines.join('\n')).toContain('cipher-pass: <redacted>')
    expect(lines.join('\n')).not.toContain('a: b')
  })
})

test('a pgbackrest.conf keeps its text, and the stanza is a new section at its end', async () => {
  const before = '[global]\nrepo1-path=/backup\n\n[a]\npg1-path=/a\n'
  const after = await (await withText('/etc/pgbackrest.conf', before)).changed({ ...change, global: [] })
  expect(after).toBe(`${before}\n[main]\npg1-path=/pg\npg1-port=5433\n`)
  const again = await withText('/etc/pgbackrest.conf', after)
  expect(again.stanzas).toEqual(['a', 'main'])
  expect(again.valueOf('repo1-path', 'main')).toBe('/backup')
})
