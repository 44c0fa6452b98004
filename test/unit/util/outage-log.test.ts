import { expect, test } from 'vitest'
import { limitOutages } from '../../../src/util/outage-log.ts'
import { recordingLogger } from '../../support/builders/restore-context.ts'

test('of the warnings of several workers about one outage, one a minute stays a warning', () => {
  let now = 0
  const log = recordingLogger()
  const limited = limitOutages(log, { nowMs: () => now, sleep: async () => undefined })
  for (; now < 150_000; now += 10_000) limited.warn({ process: now / 10_000, outage: 's3://a' }, `a at ${now}`)
  limited.warn({ outage: 's3://b' }, 'another store')
  limited.warn({ process: 1 }, 'no outage')
  limited.warn('no fields')
  limited.info('anything else')
  expect(log.lines.filter((line) => !line.startsWith('debug'))).toEqual([
    'warn: a at 0',
    'warn: a at 60000',
    'warn: a at 120000',
    'warn: another store',
    'warn: no outage',
    'warn: no fields',
    'info: anything else',
  ])
  expect(log.lines.filter((line) => line.startsWith('debug: a at'))).toHaveLength(12)
})
