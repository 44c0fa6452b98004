import fc from 'fast-check'
import { expect, test } from 'vitest'
import { copiedFiles, copyFilesJob } from '../../src/core/serve/job-fields.ts'
import { decodeValue, encodeValue, type Value } from '../../src/remote/value.ts'
import type { Schema } from '../../src/remote/fields.ts'
import { isPgtsError } from '../../src/util/error.ts'
import { copiedFileLists, copyFilesJobs } from '../support/builders/jobs.ts'

function overTheWire<T>(schema: Schema<T>, value: T): T {
  return schema.decode(decodeValue(encodeValue(schema.encode(value))))
}

test('a job arrives at another host as it was sent', () => {
  fc.assert(
    fc.property(copyFilesJobs, (job) => {
      expect(overTheWire(copyFilesJob, job)).toEqual(job)
    }),
  )
})

test('the results of a job arrive as they were sent', () => {
  fc.assert(
    fc.property(copiedFileLists, (copied) => {
      expect(overTheWire(copiedFiles, copied)).toEqual(copied)
    }),
  )
})

test('a job of which any part is replaced is refused as a fault of the protocol, or is another job', () => {
  const values = fc.constantFrom<Value>(null, true, -1, 0.5, 2n ** 63n, 'x', Buffer.from('x'), [], new Map([[99, 1]]))
  fc.assert(
    fc.property(copyFilesJobs, fc.nat(), values, (job, at, other) => {
      const replaced = withReplaced(copyFilesJob.encode(job), { at, other })
      try {
        copyFilesJob.decode(replaced)
      } catch (error) {
        expect(isPgtsError(error, 'protocol')).toBe(true)
      }
    }),
  )
})

/** The value with its nth part replaced, counted from the outside. */
function withReplaced(value: Value, place: { at: number; readonly other: Value }): Value {
  if (place.at-- === 0) return place.other
  if (Array.isArray(value)) return value.map((item) => withReplaced(item as Value, place))
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, withReplaced(item, place)]))
  return value
}
