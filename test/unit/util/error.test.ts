import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { fromPlainError, PgtsError, toPlainError } from '../../../src/util/error.ts'

const thrownBy = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return error
  }
}

test('an error that crosses threads keeps code, message, hints and the denial', () => {
  const error = new PgtsError('file-remove', 'cannot remove x', { hints: ['change the policy'], denied: true })
  const { code, message, hints, denied } = fromPlainError(structuredClone(toPlainError(error)))
  expect({ code, message, hints, denied }).toEqual({
    code: 'file-remove',
    message: 'cannot remove x',
    hints: ['change the policy'],
    denied: true,
  })
})

test.each([
  ['of the system', () => readFileSync('/'), 'kernel'],
  ['of Node about an argument', () => Buffer.alloc(-1), 'assert'],
  ['of the program', () => (undefined as unknown as string).length, 'assert'],
])('an error %s has its code in another thread', (_, run, code) => {
  expect(toPlainError(thrownBy(run))).toMatchObject({ code })
})
