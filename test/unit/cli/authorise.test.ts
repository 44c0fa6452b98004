import { expect, test } from 'vitest'
import { authorise } from '../../../src/cli/server/authorise.ts'
import { parseRights } from '../../../src/core/serve/rights.ts'
import { OPEN_REPO } from '../../support/hosts/over-connection.ts'

const rights = parseRights(
  new Map([
    ['db1', 'main'],
    ['admin', '*'],
  ]),
)

test('a client with a verified name may use its stanzas, and with * also commands without one', () => {
  expect(authorise(OPEN_REPO, { kind: 'verified', name: 'db1' }, rights)).toBe('db1')
  expect(authorise({ ...OPEN_REPO, stanza: undefined }, { kind: 'verified', name: 'admin' }, rights)).toBe('admin')
})

test.each([
  ['without a certificate', { kind: 'none' }, 'main', 'access'],
  ['with a certificate that is not valid', { kind: 'invalid', reason: 'it has expired' }, 'main', 'crypto'],
  ['with a name that has no rights', { kind: 'verified', name: 'db2' }, 'main', 'access'],
  ['with rights on another stanza', { kind: 'verified', name: 'db1' }, 'other', 'access'],
  ['with rights on one stanza, for a command without one', { kind: 'verified', name: 'db1' }, undefined, 'access'],
] as const)('a client %s is refused', (_, identity, stanza, code) => {
  expect(() => authorise({ ...OPEN_REPO, stanza }, identity, rights)).toThrow(expect.objectContaining({ code }))
})
