import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { isOptionName, optionNames, optionRow, type OptionName } from '../../../src/config/option-table.ts'
import { parseValue } from '../../../src/config/value.ts'
import { failureOf, ini, resolving } from './resolving.ts'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const textOf = (page: string) => readFileSync(`${root}${page}`, 'utf8')
const pages = ['README.md', ...readdirSync(`${root}docs/guide`).map((name) => `docs/guide/${name}`)]
const documented = pages.map((page) => ({ page, lines: commandLines(textOf(page)), values: values(textOf(page)) }))

const CONF =
  '[global]\nrepo1-type=s3\nrepo1-path=/repo\nrepo1-s3-bucket=b\nrepo1-s3-endpoint=s3.example.com\n' +
  'repo1-s3-region=eu-central-1\nrepo1-s3-key=k\nrepo1-s3-key-secret=s\n[main]\npg1-path=/pg\n'

describe('examples in README and guide are accepted', () => {
  test.each(documented.filter(({ lines }) => lines.length > 0))(
    'options in command lines of $page',
    async ({ lines }) => {
      const { env = {}, files = {} } = ini(CONF)
      const around = { env, files: { ...files, '/etc/pgbackrest/pgbackrest.conf': CONF } }
      for (const line of lines) {
        const outcome = await resolving(wordsOf(line), around).then(
          () => 'accepted',
          // A command that is named in a sentence has no parameters and no configuration.
          (error: unknown) =>
            /needs (stanza|WAL-PATH|LABEL|WAL|tls-server-auth)/.test(String(error)) ? 'accepted' : String(error),
        )
        expect(`${line}: ${outcome}`).toBe(`${line}: accepted`)
      }
    },
  )

  test.each(documented.filter(({ values }) => values.length > 0))('sizes, times and numbers of $page', ({ values }) => {
    for (const { name, value } of values) {
      const { type, choices, range } = optionRow(name)
      const rules = { type, choices, range: range === undefined || 'by' in range ? undefined : range }
      expect(() => parseValue([value], rules), `${name}=${value}`).not.toThrow()
    }
  })

  test('some known examples are found', () => {
    expect(documented.flatMap(({ lines }) => lines)).toEqual(
      expect.arrayContaining([
        'pgts --stanza=main --max-time=2h --output=text verify',
        'pgts --stanza=main --since=30d --output=text verify',
      ]),
    )
    expect(documented.flatMap(({ values }) => values)).toContainEqual({ name: 'archive-get-queue-max', value: '1GiB' })
  })
})

/** Lines of code blocks, and commands in sentences; without comments at the end of lines. */
function commandLines(text: string): string[] {
  const found = [...text.matchAll(/^(pgts -[^\n]*)|`(pgts [^`\n<]*)`/gm)].map((match) => match[1] ?? match[2] ?? '')
  return found.map((line) => line.replace(/\s{2,}.*$/, ''))
}

function wordsOf(line: string): string[] {
  const words = line.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? []
  return words.slice(1).map((word) => word.replaceAll(/['"]/g, ''))
}

/** Options with a number, on a command line or in a configuration file. */
function values(text: string): { name: OptionName; value: string }[] {
  return [...text.matchAll(/(?<![\w-])(?:--)?((?:[a-z]+\d?-)+[a-z-]+)=(\d+[A-Za-z]*)(?![\w.:-])/g)].flatMap(
    ([, given = '', value = '']) => {
      const name = given.replace(/^(repo|pg)\d+-/, '$1-')
      return isOptionName(name) && ['int', 'size', 'time'].includes(optionRow(name).type) ? [{ name, value }] : []
    },
  )
}

const UNITS = { size: /^\d+[KMGTP]?i?B$/, time: /^\d+(ms|s|m|h|d|w)$/ }

describe('sizes and times of the option table', () => {
  const measured = optionNames.filter((name) => ['size', 'time'].includes(optionRow(name).type))

  test.each(measured)('%s: bounds and choices are shown with units, and the bounds are accepted', (name) => {
    const { type, choices = [], range } = optionRow(name)
    const ranges = range === undefined ? [] : 'by' in range ? Object.values(range.by) : [range]
    for (const typed of [...choices, ...ranges.flat()]) expect(typed).toMatch(UNITS[type as 'size' | 'time'])
    for (const [min, max] of ranges)
      for (const bound of [min, max])
        expect(() => parseValue([String(bound)], { type, range: [min, max] })).not.toThrow()
  })

  test('a value out of bounds is refused, and the message shows the bounds with units', async () => {
    const { code, message } = await failureOf('verify --stanza=main --max-time=31d')
    expect(code).toBe('option-invalid-value')
    expect(message).toContain("must be between 1s and 30d, not '31d'")
  })
})
