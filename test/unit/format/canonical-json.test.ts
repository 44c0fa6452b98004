import { describe, expect, test } from 'vitest'
import { integerText, parseJson, quoteJson, serialiseJson } from '../../../src/format/canonical-json.ts'
import { isJson } from '../../../src/format/json-bytes.ts'

const accepted: readonly (readonly [string, unknown])[] = [
  ['7710877988660439684', 7710877988660439684n],
  ['18446744073709551615', 2n ** 64n - 1n],
  ['-9223372036854775808', -(2n ** 63n)],
  ['9007199254740991', 9007199254740991],
  ['0', 0],
  ['-5', -5],
  ['null', null],
  [' true ', true],
  ['[1,[2,3],\t4]', [1, [2, 3], 4]],
  ['"a\\/b"', 'a/b'],
  ['"\\"\\\\\\n\\r\\t\\b\\f"', '"\\\n\r\t\b\f'],
  ['"\\u001b"', '\x1b'],
  ['"\\u00fc"', '\xc3\xbc'],
  ['"raw \x01\x7f\xff"', 'raw \x01\x7f\xff'],
  ['{ "a" : 1 , "b":{} }', new Map<string, unknown>([['a', 1], ['b', new Map()]])], // prettier-ignore
  ['{"b":1,"a":2}', new Map([['b', 1], ['a', 2]])], // prettier-ignore
  ['{"a":1,"a":2}', new Map([['a', 2]])],
]
const rejected = [
  '',
  ' ',
  '1.5',
  '1e3',
  '-',
  '+1',
  '1 2',
  'tru',
  '"open',
  '"bad \\x"',
  '"\\u00g0"',
  '{"a\\"b":1}',
  '{"a":1,}',
  '{a:1}',
  '[1,]',
  '{"a" 1}',
  '{"a":1}={"b":2}',
  '['.repeat(100) + ']'.repeat(100),
]

describe('parseJson', () => {
  test.each(accepted)('%j', (text, value) => {
    expect(parseJson(text)).toEqual(value)
    expect(isJson(Buffer.from(text, 'latin1'), 0, text.length)).toBe(true)
  })
  test.each(rejected.map((text) => [text]))('refuses %j', (text) => {
    expect(() => parseJson(text)).toThrow(expect.objectContaining({ code: 'json-format' }))
    expect(isJson(Buffer.from(text, 'latin1'), 0, text.length)).toBe(false)
  })
  test.each(['18446744073709551616', '-9223372036854775809', '1'.repeat(400)])('refuses %s: beyond 64 bits', (text) => {
    expect(() => parseJson(text)).toThrow(/64 bits/)
  })
})

describe('serialiseJson', () => {
  test('sorts keys by bytes, also keys that look like numbers', () => {
    const keys = ['b', 'a-b', 'a', 'aa', '10', '9', '\xc3\xbc', 'A']
    const text = serialiseJson(new Map(keys.map((key) => [key, 0])))
    expect(text).toBe('{"10":0,"9":0,"A":0,"a":0,"a-b":0,"aa":0,"b":0,"\xc3\xbc":0}')
  })
  test('writes 64-bit integers exactly, arrays and null', () => {
    expect(serialiseJson([7710877988660439684n, [5, 7], null, false, ''])).toBe(
      '[7710877988660439684,[5,7],null,false,""]',
    )
  })
  test('escapes seven characters and writes every other byte unchanged', () => {
    expect(quoteJson('"\\\n\r\t\b\f')).toBe('"\\"\\\\\\n\\r\\t\\b\\f"')
    expect(quoteJson('/\x01\x0b\x1b\x7f\xc3\xbc\xff')).toBe('"/\x01\x0b\x1b\x7f\xc3\xbc\xff"')
  })
  test('fails as an assertion for a number that is not a safe integer', () => {
    for (const number of [2 ** 53, 1.5, NaN]) expect(() => integerText(number)).toThrow(/not an exact integer/)
  })
  test('refuses a member name that needs an escape', () => {
    expect(() => serialiseJson(new Map([['a"b', 1]]))).toThrow(expect.objectContaining({ code: 'json-format' }))
  })
})
