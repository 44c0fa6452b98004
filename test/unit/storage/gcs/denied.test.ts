import { expect, test } from 'vitest'
import { gcsError, refusalIn } from '../../../../src/storage/gcs/error.ts'
import { withoutCondition } from '../../../../src/storage/object/condition.ts'

const place = { display: 'gcs://bucket', bucket: 'bucket', credential: 'service', repository: 'repo1' } as const
const answer = (status: number, reason: string) =>
  refusalIn(status, JSON.stringify({ error: { message: 'words', errors: [{ reason }] } }))

test.each([
  [403, 'forbidden', true],
  [403, 'retentionPolicyNotMet', true],
  [403, 'objectUnderActiveHold', true],
  [412, 'retentionPolicyNotMet', true],
  [403, 'rateLimitExceeded', false],
  [403, 'accountDisabled', false],
  [401, 'authError', false],
  [400, 'invalid', false],
])('a removal answered by %i %s: denied is %s', (status, reason, denied) => {
  expect(gcsError('cannot remove x', 'file-remove', place, answer(status, reason)).denied).toBe(denied)
  expect(gcsError('cannot write x', 'file-write', place, answer(status, reason)).denied).toBe(false)
})

test.each([
  [400, 'invalid', 'feature-not-supported'],
  [501, 'notImplemented', 'feature-not-supported'],
  [403, 'forbidden', 'access'],
])('a conditional write answered by %i %s: %s', (status, reason, code) => {
  const error = gcsError('cannot write x', 'file-write', place, answer(status, reason))
  expect(withoutCondition(error)).toMatchObject({ code })
})
