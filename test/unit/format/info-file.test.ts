import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseInfoFile, serialiseInfoFile } from '../../../src/format/info-file.ts'

/** The file and the checksum of the format's own test vector. */
const REFERENCE = `[backrest]
backrest-format=5
backrest-version="2.59.1"

[db]
db-id=1
db-system-id=7710877988660439684
db-version="15"

[db:history]
1={"db-id":7710877988660439684,"db-version":"15"}

[backrest]
backrest-checksum="f7c54df81409c16588e8c63872903b70216fa98f"
`
const sections = [
  {
    name: 'db',
    entries: [
      ['db-id', '1'],
      ['db-system-id', '7710877988660439684'],
      ['db-version', '"15"'],
    ] as const,
  },
  { name: 'db:history', entries: [['1', '{"db-id":7710877988660439684,"db-version":"15"}']] as const },
]

/** A file with these lines and the checksum of their values, as another program would write it. */
function fileOf(body: string, hashed: string): Buffer {
  const text = `[backrest]\nbackrest-format=5\nbackrest-version="x"\n\n${body}\n\n[backrest]\n`
  const all = `{"backrest":{"backrest-format":5,"backrest-version":"x"}${hashed === '' ? '' : `,${hashed}`}}`
  return Buffer.from(`${text}backrest-checksum="${createHash('sha1').update(all, 'latin1').digest('hex')}"\n`, 'latin1')
}

/** The same from a file whose checksum may be wrong, to test the other checks of the reader. */
const read = (bytes: Buffer) =>
  [...parseInfoFile(bytes).sections].map(([name, section]) => [name, [...section.entries].map(([k, v]) => `${k}|${v}`)])

describe('an info file written by pgbackrest', () => {
  test('is written byte for byte for any order of its sections', () => {
    expect(serialiseInfoFile(sections, '2.59.1').toString()).toBe(REFERENCE)
    expect(serialiseInfoFile([...sections].reverse(), '2.59.1').toString()).toBe(REFERENCE)
  })
  test('is read', () => {
    const file = parseInfoFile(Buffer.from(REFERENCE))
    expect(file.backrestVersion).toBe('2.59.1')
    expect([...file.sections.keys()]).toEqual(['db', 'db:history'])
    expect(read(Buffer.from(REFERENCE))[0]).toEqual([
      'db',
      ['db-id|1', 'db-system-id|7710877988660439684', 'db-version|"15"'],
    ])
  })
  test('is refused when any byte was changed', () => {
    for (let at = 0; at < REFERENCE.length; at++) {
      const bytes = Buffer.from(REFERENCE)
      // The line ends and the version are covered by other rules; everything that is hashed must be found.
      bytes[at]! ^= 0x01
      if (REFERENCE[at] === '\n') continue
      expect(() => parseInfoFile(bytes), `byte ${at}`).toThrow()
    }
  })
  test('is refused when truncated anywhere but at the last line end', () => {
    for (let length = 0; length < REFERENCE.length - 1; length++) {
      expect(() => parseInfoFile(Buffer.from(REFERENCE.slice(0, length))), `cut at ${length}`).toThrow()
    }
    expect(() => parseInfoFile(Buffer.from(REFERENCE.slice(0, -1)))).not.toThrow()
  })
})

describe('the reader of info files', () => {
  test.each([
    ['extra blank lines', '\n\n[a]\n\nk=1\n\n\n', '"a":{"k":1}', [['a', ['k|1']]]],
    ['unknown sections and keys', '[new:section]\nx={"y":[1]}', '"new:section":{"x":{"y":[1]}}', [['new:section', ['x|{"y":[1]}']]]], // prettier-ignore
    ['whitespace inside JSON, hashed unchanged', '[a]\nk= { "x" : 1 }', '"a":{"k": { "x" : 1 }}', [['a', ['k| { "x" : 1 }']]]], // prettier-ignore
    ['= in a key', '[a]\na=b={"x":"=1"}', '"a":{"a=b":{"x":"=1"}}', [['a', ['a=b|{"x":"=1"}']]]],
    ['= in a value', '[a]\nk="x=="', '"a":{"k":"x=="}', [['a', ['k|"x=="']]]],
    ['a key that looks like an entry', '[a]\nc={"size":1}={"size":2}', '"a":{"c={\\"size\\":1}":{"size":2}}', [['a', ['c={"size":1}|{"size":2}']]]], // prettier-ignore
    ['quotes and backslashes in a key', '[a]\nd=b "q" \\ü={}', '"a":{"d=b \\"q\\" \\\\ü":{}}', [['a', ['d=b "q" \\ü|{}']]]], // prettier-ignore
    ['a key that begins with a bracket', '[a]\n[b]c={}', '"a":{"[b]c":{}}', [['a', ['[b]c|{}']]]],
    ['a section in two parts', '[a]\nk=1\n[b]\nk=2\n[a]\nl=3', '"a":{"k":1},"b":{"k":2},"a":{"l":3}', [['a', ['k|1', 'l|3']], ['b', ['k|2']]]], // prettier-ignore
    ['a section without keys', '[a]\n[b]\nk=2', '"b":{"k":2}', [['a', []], ['b', ['k|2']]]], // prettier-ignore
  ])('%s', (_, body, hashed, expected) => {
    expect(read(fileOf(body, hashed))).toEqual(expected)
  })
  test('accepts a value and a key longer than a block', () => {
    const [key, value] = ['k'.repeat(100_000), `"${'v'.repeat(200_000)}"`]
    expect(read(fileOf(`[a]\n${key}=${value}`, `"a":{"${key}":${value}}`))).toEqual([['a', [`${key}|${value}`]]])
  })
})

describe('the reader of info files', () => {
  const lines = (body: string) => Buffer.from(`[backrest]\nbackrest-format=5\n${body}\n`)
  test.each([
    ['a comment', '# comment', /line 3/],
    ['a comment with =', '#a=b', /line 3/],
    ['no =', '[a]\nkey', /line 4.*'='/],
    ['an empty key', '[a]\n=1', /line 4.*key is empty/],
    ['an empty section name', '[]\nk=1', /line 3.*no name/],
    ['a value that is not JSON', '[a]\nk=abc', /line 4/],
    ['a fraction', '[a]\nk=1.5', /line 4/],
    ['an escape in a member name', '[a]\nk={"a\\"b":1}', /line 4/],
    ['two values', '[a]\nk=1 2', /line 4/],
  ])('%s', (_, body, message) => {
    expect(() => parseInfoFile(lines(body), 'backup.info')).toThrow(
      expect.objectContaining({ code: 'format', message: expect.stringMatching(message) }),
    )
  })
  test('refuses a key before any section', () => {
    expect(() => parseInfoFile(Buffer.from('k=1\n'))).toThrow(/before the first section/)
  })
  test('CRLF', () => {
    expect(() => parseInfoFile(Buffer.from(REFERENCE.replaceAll('\n', '\r\n')))).toThrow(
      expect.objectContaining({ code: 'format' }),
    )
  })
  test.each([
    ['another format number', REFERENCE.replace('format=5', 'format=6'), 'format', /expected format 5 but found 6/],
    ['no format number', REFERENCE.replace('backrest-format=5\n', ''), 'checksum', /./],
    [
      'no checksum',
      REFERENCE.slice(0, REFERENCE.lastIndexOf('[backrest]')),
      'checksum',
      /no checksum: it is truncated/,
    ],
    ['another checksum', REFERENCE.replace('f7c5', 'f7c6'), 'checksum', /corrupt/],
    ['an empty file', '', 'checksum', /is empty/],
    ['an encrypted file', 'Salted__\x01\x02', 'crypto', /encrypted, but no cipher is configured/],
  ])('%s', (_, text, code, message) => {
    expect(() => parseInfoFile(Buffer.from(text, 'latin1'), 'archive.info')).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    )
  })
})

describe('the writer of info files', () => {
  test('refuses a name with a line break', () => {
    expect(() => serialiseInfoFile([{ name: 'a', entries: [['x\ny', '1']] }], 'v')).toThrow(
      expect.objectContaining({ code: 'format', hints: [expect.stringMatching(/rename/)] }),
    )
  })
  test('omits empty sections', () => {
    expect(serialiseInfoFile([{ name: 'a', entries: [] }], 'v').toString()).not.toContain('[a]')
  })
})
