import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { CopiedFile, CopyFilesJob } from '../../../../src/core/backup/copy-job.ts'
import { copiedFiles, copyFilesJob } from '../../../../src/core/serve/job-fields.ts'
import { jobSetupVerb } from '../../../../src/core/serve/job-verbs.ts'
import { decodeValue, encodeValue } from '../../../../src/remote/value.ts'
import { asBytes } from '../../../../src/util/byte-string.ts'

// If one of these bytes changes, other releases misread a job: the number of the protocol must change, too.

const vector = (name: string) =>
  Buffer.from(readFileSync(new URL(`../../../vectors/wire/1/${name}.hex`, import.meta.url), 'latin1'), 'hex')

const SHA1 = '0123456789abcdef0123456789abcdef01234567'
const prior = {
  repoName: asBytes('backup/main/20260101-030405F/bundle/1'),
  offset: 4096,
  repoSizeBytes: 9000,
  mapSizeBytes: 120,
  sizeBytes: 5_368_709_120,
  blockSize: 8192,
  checksumSize: 6,
  referenceCount: 2,
  cipherPass: asBytes('a'),
}
const job: CopyFilesJob = {
  repoKey: 1,
  files: [
    {
      index: 7,
      name: asBytes('pg_data/base/1/\xff'),
      pgName: '/pg/base/1/\xff',
      sizeBytes: 8192,
      sizeLimited: true,
      control: false,
      firstBlock: 0,
      blocks: { blockSize: 8192, checksumSize: 6, prior },
      priorContent: { checksum: SHA1, first: true },
    },
    {
      index: 8,
      name: asBytes('pg_data/global/pg_control'),
      pgName: '/pg/global/pg_control',
      repoName: 'backup/main/20260102-030405F/pg_data/global/pg_control.gz',
      sizeBytes: 8192,
      sizeLimited: true,
      control: true,
      resumed: { checksum: SHA1, repoSizeBytes: 300, repoChecksum: SHA1 },
    },
  ],
  bundle: { id: 1, repoName: 'backup/main/20260102-030405F/bundle/1', raw: true },
  compression: { type: 'gz', level: -1 },
  cipherPass: asBytes('b'),
  pages: { size: 8192, headerCheck: true },
  superBlocks: { sizeBytes: 1_048_576, reference: 1 },
}

const copied: CopiedFile[] = [
  { outcome: 'vanished' },
  { outcome: 'unchanged' },
  { outcome: 'emptied' },
  { outcome: 'resumed' },
  {
    outcome: 'copied',
    sizeBytes: 8192,
    checksum: SHA1,
    repoSizeBytes: 300,
    repoChecksum: SHA1,
    bundle: { id: 1, offset: 4096 },
    blocks: { blockSize: 8192, checksumSize: 6, mapSizeBytes: 120 },
    pages: { valid: false, errors: [3, [5, 9]] },
    warning: 'é',
  },
]

test('a job has the bytes of protocol 1', () => {
  expect(encodeValue(copyFilesJob.encode(job)).toString('hex')).toBe(vector('backup-file').toString('hex'))
  expect(copyFilesJob.decode(decodeValue(vector('backup-file')))).toEqual(job)
})

test('the results of a job have the bytes of protocol 1', () => {
  expect(encodeValue(copiedFiles.encode(copied)).toString('hex')).toBe(vector('backup-file-answer').toString('hex'))
  expect(copiedFiles.decode(decodeValue(vector('backup-file-answer')))).toEqual(copied)
})

test('a range of page errors without an end is refused', () => {
  const [damaged] = copied.slice(4)
  const value = copiedFiles.encode([damaged!]) as [[number, Map<number, Map<number, unknown>>]]
  value[0][1].get(7)!.set(2, [3, 3, 5])
  expect(() => copiedFiles.decode(value as never)).toThrow(expect.objectContaining({ code: 'protocol' }))
})

const setup = { repoKey: 1, display: 'repo1', parallel: 2, bufferBytes: 1_048_576 } as const

test.each([
  ['parallel', 0, 'integer from 1 to 1024 expected, not 0'],
  ['parallel', 1025, 'integer from 1 to 1024 expected, not 1025'],
  ['bufferBytes', 16_383, 'integer from 16384 to 16777216 expected, not 16383'],
  ['bufferBytes', 2 ** 40, 'integer from 16384 to 16777216 expected, not 1099511627776'],
])('another host cannot choose %s=%d', (name, value, reason) => {
  const { encode, decode } = jobSetupVerb.request
  expect(decode(encode(setup))).toEqual(setup)
  expect(() => decode(encode({ ...setup, [name]: value }))).toThrow(reason)
})
