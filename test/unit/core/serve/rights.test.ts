import { expect, test } from 'vitest'
import { isAllowed, parseRights } from '../../../../src/core/serve/rights.ts'

test('a common name has the stanzas of its list, and only a star allows commands without a stanza', () => {
  const rights = parseRights(
    new Map([
      ['db1', 'main, other'],
      ['repo', '*'],
    ]),
  )
  expect(isAllowed('main', rights.get('db1'))).toBe(true)
  expect(isAllowed('other', rights.get('db1'))).toBe(true)
  expect(isAllowed('mai', rights.get('db1'))).toBe(false)
  expect(isAllowed('', rights.get('db1'))).toBe(false)
  expect(isAllowed('any', rights.get('repo'))).toBe(true)
  expect(isAllowed('', rights.get('repo'))).toBe(true)
  expect(isAllowed('main', rights.get('unknown'))).toBe(false)
  // A star is for stanzas, never for names of certificates.
  expect(isAllowed('main', parseRights(new Map([['*', 'main']])).get('db1'))).toBe(false)
})

test.each(['', 'main,', ',main', 'a,,b'])('the list %j is refused', (text) => {
  expect(() => parseRights(new Map([['db1', text]]))).toThrow("tls-server-auth of 'db1' has an empty name of a stanza")
})
