import { describe, expect, test } from 'vitest'
import { failureOf, resolving, valueOf, type Surroundings } from './resolving.ts'

// From the strongest to the weakest; each sets process-max to its place in the list.
const SOURCES = ['command line', 'PGTS_', 'PGBACKREST_', 'main:backup', 'main', 'global:backup', 'global'] as const

function surroundings(places: readonly number[], dialect: 'ini' | 'yaml'): { line: string; around: Surroundings } {
  const has = (name: (typeof SOURCES)[number]) => places.includes(SOURCES.indexOf(name))
  const value = (name: (typeof SOURCES)[number]) => SOURCES.indexOf(name) + 1
  const env: Record<string, string> = {}
  if (has('PGTS_')) env['PGTS_PROCESS_MAX'] = String(value('PGTS_'))
  if (has('PGBACKREST_')) env['PGBACKREST_PROCESS_MAX'] = String(value('PGBACKREST_'))
  const line = `backup --stanza=main --pg1-path=/pg${has('command line') ? ' --process-max=1' : ''}`
  const sections = (['main:backup', 'main', 'global:backup', 'global'] as const).filter(has)
  if (dialect === 'ini') {
    const text = sections.map((name) => `[${name}]\nprocess-max=${value(name)}\n`).join('')
    return { line, around: { env: { ...env, PGTS_CONFIG: '/x.conf' }, files: { '/x.conf': text } } }
  }
  const map = (own: 'main' | 'global', inner: 'main:backup' | 'global:backup') =>
    JSON.stringify({
      ...(has(own) ? { 'process-max': value(own) } : {}),
      ...(has(inner) ? { backup: { 'process-max': value(inner) } } : {}),
    })
  const text = `global: ${map('global', 'global:backup')}\nstanza: { main: ${map('main', 'main:backup')} }\n`
  return { line, around: { env, files: { '/etc/pgts/pgts.yaml': text } } }
}

const pairs = SOURCES.flatMap((strong, i) => SOURCES.slice(i + 1).map((weak) => [strong, weak] as const))

describe.each(['ini', 'yaml'] as const)('precedence with %s', (dialect) => {
  test.each(pairs)('%s has precedence over %s', async (strong, weak) => {
    const { line, around } = surroundings([SOURCES.indexOf(strong), SOURCES.indexOf(weak)], dialect)
    expect(await valueOf('process-max', line, around)).toBe(SOURCES.indexOf(strong) + 1)
    const alone = surroundings([SOURCES.indexOf(weak)], dialect)
    expect(await valueOf('process-max', alone.line, alone.around)).toBe(SOURCES.indexOf(weak) + 1)
  })
})

test('lists are not merged: the source with precedence sets the whole list', async () => {
  const around = { env: { PGTS_EXCLUDE: 'a:b' }, files: { '/etc/pgts/pgts.yaml': 'global: { exclude: [c] }' } }
  expect(await valueOf('exclude', 'backup --stanza=main --pg1-path=/pg', around)).toEqual(['a', 'b'])
  expect(await valueOf('exclude', 'backup --stanza=main --pg1-path=/pg --exclude=d', around)).toEqual(['d'])
})

test('precedence applies to each repository index separately', async () => {
  const around = {
    env: { PGTS_REPO2_PATH: '/env2' },
    files: { '/etc/pgts/pgts.yaml': 'global: { repo: [{ path: /f1 }, { path: /f2 }] }' },
  }
  expect((await resolving('info --repo1-path=/cli1', around)).options).toMatchObject({
    repo: [
      { key: 1, path: '/cli1' },
      { key: 2, path: '/env2' },
    ],
  })
})

test('without a stanza only the global sections are read', async () => {
  const files = { '/etc/pgts/pgts.yaml': 'stanza: { main: { log-level-console: info } }' }
  expect(await valueOf('log-level-console', 'info', { files })).toBe('warn')
  expect(await valueOf('log-level-console', 'info --stanza=main', { files })).toBe('info')
})

describe('the environment', () => {
  test('with service variables of Kubernetes causes no warning, and they are not used', async () => {
    const services = ['PGBACKREST', 'PGBACKREST_REPO1', 'PGBACKREST_PG1', 'PGBACKREST_REPO1_HOST', 'PGTS_REPO']
    const long = `PGBACKREST_${'A_LONG_NAME_'.repeat(4)}REPO`
    const env = Object.fromEntries(
      [...services, long, 'PGBACKREST_1_A'].flatMap((service) => [
        [`${service}_SERVICE_HOST`, '10.0.0.1'],
        [`${service}_SERVICE_PORT`, '8432'],
        [`${service}_SERVICE_PORT_PGBACKREST_TLS`, '8432'],
        [`${service}_PORT`, 'tcp://10.0.0.1:8432'],
        [`${service}_PORT_8432_TCP`, 'tcp://10.0.0.1:8432'],
        [`${service}_PORT_8432_TCP_PROTO`, 'tcp'],
        [`${service}_PORT_8432_TCP_PORT`, '8432'],
        [`${service}_PORT_8432_TCP_ADDR`, '10.0.0.1'],
      ]),
    )
    const line = 'check --stanza=main --pg1-path=/pg'
    expect((await resolving(line, { env })).warnings).toEqual([])
    expect(await valueOf('pg1-port', line, { env })).toBe(5432)
    expect(await valueOf('pg1-port', line, { env: { PGBACKREST_PG1_PORT: '5433' } })).toBe(5433)
  })

  const line = 'backup --pg1-path=/pg --repo1-retention-full=1'

  test('may set options that files may not, for example PGTS_STANZA', async () => {
    const resolved = await resolving(line, { env: { PGBACKREST_STANZA: 'main' } })
    expect(resolved.options).toMatchObject({ stanza: 'main' })
    expect(resolved.values.get('stanza')?.origin).toBe('PGBACKREST_STANZA')
  })

  test.each([
    ['PGTS_PROCES_MAX', '1', 'environment variable PGTS_PROCES_MAX sets no option; did you mean PGTS_PROCESS_MAX?'],
    ['PGBACKREST_NO_DELTA', 'y', 'PGBACKREST_NO_DELTA is ignored'],
    ['PGTS_RESET_PROCESS_MAX', 'y', 'PGTS_RESET_PROCESS_MAX is ignored'],
  ])('with %s=%s causes a warning', async (name, value, words) => {
    const { warnings } = await resolving(line, { env: { PGTS_STANZA: 'main', [name]: value } })
    expect(warnings.join('\n')).toContain(words)
  })

  test('with options of other commands and variables of the launcher causes no warning', async () => {
    const env = {
      PGTS_STANZA: 'main',
      PGTS_LINK_ALL: 'maybe',
      PGTS_NODE: '/usr/bin/node',
      PGTS_TEST_KEEP: '1',
      PGTSX: '1',
    }
    expect((await resolving(line, { env })).warnings).toEqual([])
  })

  test.each([
    ['PGTS_PROCESS_MAX', '', 'option-invalid-value', 'environment variable PGTS_PROCESS_MAX is empty'],
    ['PGTS_DELTA', 'yes', 'option-invalid-value', 'delta (from PGTS_DELTA) must be y or n'],
    ['PGTS_REPO_BUNDLE', 'y', 'option-invalid', 'PGTS_REPO_BUNDLE needs an index'],
    [
      'PGTS_REPO1_PATH',
      'relative',
      'option-invalid-value',
      "repo1-path (from PGTS_REPO1_PATH) must be an absolute path, not 'relative'",
    ],
    ['PGTS_NO_PROCESS_MAX', '1', 'option-invalid', 'has no negative form'],
  ])('with %s=%s is refused', async (name, value, code, words) => {
    const error = await failureOf(line, { env: { PGTS_STANZA: 'main', [name]: value } })
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
  })
})
