import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { helpTopics } from '../../src/cli/render/help-topics.ts'
import { CODECS } from '../../src/codec/levels.ts'
import { RENEW_MS, READ_BACK_WAIT_MS } from '../../src/core/lease/lease.ts'
import { STALE_MS } from '../../src/core/lease/life.ts'
import { POSTGRES_VERSIONS } from '../../src/postgres/versions.ts'
import { lockNames } from '../../src/util/lock-file.ts'
import { commandNames, commandRow } from '../../src/config/command-table.ts'
import { PGBACKREST_LEVEL, versionText } from '../../src/util/version.ts'
import { failureOf, ini, resolving } from './config/resolving.ts'

/** Statements of the guide about facts that the code declares. */
const page = (name: string) => readFileSync(new URL(`../../docs/guide/${name}.md`, import.meta.url), 'utf8')
const limits = page('limits')
const rowOf = (what: string) => limits.split('\n').find((line) => line.startsWith(`| ${what}`)) ?? ''
const conf = (lines: string) => ini(`[global]\nrepo1-retention-full=1\n${lines}\n[main]\npg1-path=/pg\n`)

test('limits.md has the PostgreSQL versions that pgts backs up', () => {
  const versions = POSTGRES_VERSIONS.filter(({ backup }) => backup).map(({ version }) => version)
  expect(rowOf('PostgreSQL')).toBe(`| PostgreSQL | ${versions[0]} to ${versions.at(-1)} |`)
})

test('limits.md has the compression types that pgts reads and writes', () => {
  const types = rowOf('compression').match(/\b(none|gz|lz4|zst|bz2)\b/g)
  expect(types?.sort()).toEqual(Object.keys(CODECS).sort())
})

test('limits.md says that SFTP is refused, and it is', async () => {
  expect(limits.split('\n').find((row) => row.includes('SFTP'))).toMatch(/refused/)
  expect((await failureOf('backup --stanza=main', conf('repo1-type=sftp'))).code).toBe('feature-not-supported')
})

test('limits.md says that repository format 6 is refused, and repo-format=6 is refused', async () => {
  expect(limits.split('\n').find((row) => row.includes('format 6'))).toMatch(/refused/)
  const create = 'stanza-create --stanza=main --pg1-path=/pg'
  expect((await failureOf(`${create} --repo1-format=6`, conf(''))).code).toBe('feature-not-supported')
  expect((await resolving(`${create} --repo1-format=5`, conf(''))).options.repo[0]).toMatchObject({ format: '5' })
})

test('beside-pgbackrest.md has the version that pgts prints under that name', () => {
  const text = page('beside-pgbackrest')
  expect(text).toContain(`\`pgBackRest ${PGBACKREST_LEVEL}\` for \`version\``)
  expect(text).toContain(`\`${versionText('num', 'pgbackrest')}\` for \`version --output=num\``)
  expect(text).toContain(`(\`${PGBACKREST_LEVEL}\`)`)
})

test('beside-pgbackrest.md says that locks have the names of 2.45 and of later releases', () => {
  expect(page('beside-pgbackrest')).toMatch(/lock names of pgBackRest 2\.45 and of 2\.53 and later/)
  expect(lockNames('main', ['backup'], [1, 2]).map(({ name }) => name)).toEqual([
    'main-backup.lock',
    'main-backup-1.lock',
    'main-backup-2.lock',
  ])
})

test('several-hosts.md has the times of a lease', () => {
  const text = page('several-hosts')
  expect([RENEW_MS, READ_BACK_WAIT_MS, STALE_MS]).toEqual([60_000, 3_000, 600_000])
  expect(text).toContain('renew it every minute')
  expect(text).toContain('read back after 3 seconds')
  expect(text).toMatch(/After ten minutes without renewal it is reported as stale/)
})

test('several-hosts.md lists the commands that take a lease', () => {
  const [, list = ''] = /there\nis a \*\*lease\*\*: ([^]*?) write/.exec(page('several-hosts')) ?? []
  const named = [...list.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name)
  const writers = commandNames.filter(
    (name) => commandRow(name).locks?.includes('backup') === true && !name.startsWith('stanza-'),
  )
  expect(named.sort()).toEqual(writers)
  expect(list).toContain('the stanza commands')
})

test('the commands of every help topic are those of the guide', () => {
  const oneLine = (text: string) => text.replaceAll('\\\n', '').replaceAll(/[ \t]+/g, ' ')
  const guide = ['runbooks', 'moving', 'restore', 'stanza-life'].map((name) => oneLine(page(name))).join('\n')
  for (const [topic, { text }] of Object.entries(helpTopics)) {
    const commands = [...oneLine(text).matchAll(/^ (pgts .*?) *$/gm)].map(([, command]) => command!)
    expect(commands.length, topic).toBeGreaterThan(0)
    for (const command of commands) expect(guide, topic).toContain(command)
  }
})
