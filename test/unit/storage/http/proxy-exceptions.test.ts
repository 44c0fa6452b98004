import { describe, expect, test } from 'vitest'
import { isException } from '../../../../src/storage/http/proxy-exceptions.ts'

describe('NO_PROXY', () => {
  test.each([
    ['*', 'store.internal'],
    ['*', '::1'],
    ['other, Store.internal', 'store.internal'],
    ['other Store.internal', 'store.internal.'],
    ['.internal', 'store.internal'],
    ['*.internal', 'store.internal'],
    ['internal', 'store.internal'],
    ['store.internal.', 'store.internal'],
    ['store.internal:443', 'store.internal'],
    ['store.*', 'store.internal'],
    ['10.1.2.3', '10.1.2.3'],
    ['10.1.2.3:443', '10.1.2.3'],
    ['10.0.0.0/8', '10.1.2.3'],
    ['0.0.0.0/0', '10.1.2.3'],
    ['10.1.2.3/32', '::ffff:10.1.2.3'],
    ['10.1.*', '10.1.2.3'],
    ['::1', '::1'],
    ['[::1]', '::1'],
    ['[::1]:443', '::1'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['fd00::/8', 'fd12:3456::7'],
    ['[fd00::]/8', 'fd12:3456::7'],
    ['fe80::/10', 'fe80::1%eth0'],
  ])('%s names %s', (entries, host) => expect(isException(entries, host, 443)).toBe(true))

  test.each([
    ['', 'store.internal'],
    [' , ', 'store.internal'],
    ['.', 'store.internal'],
    ['store.internal:8443', 'store.internal'],
    ['ternal,re.internal', 'store.internal'],
    ['*.internal', 'internal.example'],
    ['10.0.0.0/8', '11.1.2.3'],
    ['10.0.0.0/8', '10.example'],
    ['10.0.0.0/33', '10.1.2.3'],
    ['10.0.0.0/x', '10.1.2.3'],
    ['10.1.2', '10.1.2.3'],
    ['2.3', '10.1.2.3'],
    ['10x1.*', '10.1.2.3'],
    ['[::1]:8443', '::1'],
    ['::2', '::1'],
    ['fd00::/8', 'fe00::1'],
    ['127.0.0.1', '::1'],
  ])('%j does not name %s', (entries, host) => expect(isException(entries, host, 443)).toBe(false))
})
