import { expect, test } from 'vitest'
import { posixError } from '../../../src/storage/posix-error.ts'
import { describeGroup, describeUser } from '../../../src/util/owner-names.ts'

test('an id is shown with its name, and alone when it has none', () => {
  expect(describeUser(0)).toBe('uid 0 (root)')
  expect(describeGroup(0)).toBe('gid 0 (root)')
  expect(describeUser(3_999_999_999)).toBe('uid 3999999999')
  expect(describeGroup(3_999_999_999)).toBe('gid 3999999999')
})

test('permission denied names the user of this process', () => {
  const error = posixError('open', '/repo/x', Object.assign(new Error('EACCES'), { code: 'EACCES' }))
  expect(error.hints.join()).toContain(`this process runs as ${describeUser(process.geteuid!())}`)
})
