import fc from 'fast-check'
import { expect, test } from 'vitest'
import { groupOf, optionNames, optionRow } from '../../src/config/option-table.ts'
import type { OptionName } from '../../src/config/option-table.ts'
import { withIndex } from '../../src/config/option-name.ts'
import { isMulti } from '../../src/config/option-table.ts'
import { resolving, type Surroundings } from '../unit/config/resolving.ts'

// Options of a backup that every source may set and that require no other option.
const names = optionNames.filter((name) => {
  const row = optionRow(name)
  const free = row.section !== 'command-line' && row.depend === undefined && row.secret !== true
  return (
    free &&
    row.support === undefined &&
    row.commands.includes('backup') &&
    name !== 'pg-path' &&
    name !== 'compress' &&
    name !== 'log-timestamp' &&
    // It requires a passphrase, which the command line refuses.
    name !== 'repo-cipher-type' &&
    name !== 'repo-retention-full'
  )
})

const word = fc.stringMatching(/^[A-Za-z0-9_./-]{0,12}[a-z0-9]$/)
const path = fc
  .array(fc.stringMatching(/^[a-z0-9_.-]{1,8}$/), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.join('/')}`)

function valueOf(name: OptionName): fc.Arbitrary<string> {
  const row = optionRow(name)
  const [min, max] = row.range !== undefined && !('by' in row.range) ? row.range : [0, 9]
  if (row.choices !== undefined) return fc.constantFrom(...row.choices)
  switch (row.type) {
    case 'bool':
      return fc.constantFrom('y', 'n')
    case 'int':
      return fc.integer({ min: Number(min), max: Number(max) }).map(String)
    case 'size':
      return fc
        .tuple(fc.integer({ min: 1, max: 999 }), fc.constantFrom('MiB', 'mb', 'G', 'gib', 'm'))
        .map((all) => all.join(''))
    case 'time':
      return fc.tuple(fc.integer({ min: 1, max: 15 }), fc.constantFrom('', 's', 'S', 'm')).map((all) => all.join(''))
    case 'path':
      return path
    case 'hash':
      return fc.tuple(word, word).map(([key, value]) => `${key.replaceAll('-', '_')}=${value}`)
    default:
      return word
  }
}

const settings = fc.constantFrom(...names).chain((name) => {
  const many = isMulti(optionRow(name)) ? 3 : 1
  return fc.record({
    name: fc.constant(name),
    key: groupOf(name) === undefined ? fc.constant(0) : fc.integer({ min: 1, max: 256 }),
    typed: fc.array(valueOf(name), { minLength: 1, maxLength: many }),
  })
})

test('a value is parsed equally from command line, environment, ini file and YAML', async () => {
  await fc.assert(
    fc.asyncProperty(settings, async ({ name, key, typed }) => {
      const written = withIndex(name, key)
      // An index of pg requires its path.
      const path = groupOf(name) === 'pg' ? `--pg${key}-path=/other` : '--log-timestamp'
      const base = ['backup', '--stanza=main', ...new Set(['--pg1-path=/other', path])]
      const read = async (more: readonly string[], around: Surroundings): Promise<unknown> => {
        const resolved = await resolving([...base, ...more], around)
        const { value, source } = resolved.values.get(written) ?? {}
        expect(source).not.toBe('default')
        return value
      }
      const commandLine = await read(
        typed.map((text) => `--${written}=${text}`),
        {},
      )
      expect(commandLine).toBeDefined()
      const variable = written.toUpperCase().replaceAll('-', '_')
      expect(await read([], { env: { [`PGTS_${variable}`]: typed.join(':') } })).toEqual(commandLine)
      expect(await read([], { env: { [`PGBACKREST_${variable}`]: typed.join(':') } })).toEqual(commandLine)

      const lines = typed.map((text) => `${written}=${text}\n`).join('')
      const conf = { env: { PGTS_CONFIG: '/x.conf' }, files: { '/x.conf': `[main]\n${lines}` } }
      expect(await read([], conf)).toEqual(commandLine)
      expect(await read([], { files: { '/etc/pgts/pgts.yaml': yamlFor(name, key, typed) } })).toEqual(commandLine)
    }),
    { numRuns: 150 },
  )
})

function yamlFor(name: OptionName, key: number, typed: readonly string[]): string {
  const row = optionRow(name)
  const scalars = typed.map((text) => (row.type === 'bool' ? String(text === 'y') : JSON.stringify(text)))
  const value = isMulti(row) ? `[${scalars.join(', ')}]` : (scalars[0] ?? '')
  const group = groupOf(name)
  const inner =
    group === undefined ? `${name}: ${value}` : `${group}: { ${key}: { ${name.slice(group.length + 1)}: ${value} } }`
  return `stanza:\n  main: { ${inner} }\n`
}
