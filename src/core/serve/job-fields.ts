import {
  bool,
  byteString,
  choice,
  field,
  integer,
  integerIn,
  list,
  name,
  nothing,
  optional,
  record,
  sentAs,
  text,
  variant,
  type Schema,
  type TypeOf,
} from '../../remote/fields.ts'
import type { StoredBlocks } from '../block/read.ts'
import type { CopiedFile, CopyFileJob, CopyFilesJob, StoredContent } from '../backup/copy-job.ts'
import type { PageCheckResult } from '../backup/page-check.ts'
import { PgtsError } from '../../util/error.ts'

// Jobs and results as fields of the protocol. A key is never used for another meaning: test/vectors/wire/1 has the bytes.

const blockShape = { blockSize: field(1, integer), checksumSize: field(2, integer) }

const storedBlocks: Schema<StoredBlocks> = record({
  ...blockShape,
  repoName: field(3, name),
  offset: field(4, integer),
  repoSizeBytes: field(5, integer),
  mapSizeBytes: field(6, integer),
  sizeBytes: field(7, integer),
  referenceCount: field(8, integer),
  cipherPass: optional(9, byteString),
})

const copyFileJob: Schema<CopyFileJob> = record({
  index: field(1, integer),
  name: field(2, name),
  pgName: field(3, name),
  repoName: optional(4, name),
  sizeBytes: field(5, integer),
  sizeLimited: field(6, bool),
  control: field(7, bool),
  firstBlock: optional(8, integer),
  blocks: optional(9, record({ ...blockShape, prior: optional(3, storedBlocks) })),
  priorContent: optional(10, record({ checksum: field(1, text), first: field(2, bool) })),
  resumed: optional(
    11,
    record({ checksum: field(1, text), repoSizeBytes: field(2, integer), repoChecksum: field(3, text) }),
  ),
})

export const copyFilesJob: Schema<CopyFilesJob> = record({
  repoKey: field(1, integer),
  files: field(2, list(copyFileJob)),
  bundle: optional(3, record({ id: field(1, integer), repoName: field(2, name), raw: field(3, bool) })),
  compression: field(
    4,
    record({ type: field(1, choice({ none: 0, gz: 1, lz4: 2, zst: 3, bz2: 4 })), level: field(2, integer) }),
  ),
  cipherPass: optional(5, byteString),
  pages: field(6, record({ size: field(1, integer), headerCheck: field(2, bool) })),
  superBlocks: optional(7, record({ sizeBytes: field(1, integer), reference: field(2, integer) })),
  compressThreads: optional(8, integerIn(1, 1024)),
})

/** Block numbers: the first and the last of each range. */
const pageErrors = sentAs<NonNullable<PageCheckResult['errors']>, readonly number[]>(
  list(integer),
  (errors) => errors.flatMap((one) => (typeof one === 'number' ? [one, one] : [...one])),
  (flat) => {
    if (flat.length % 2 !== 0) throw new PgtsError('protocol', 'a range of page errors has no end')
    const errors: (number | readonly [number, number])[] = []
    for (let i = 0; i < flat.length; i += 2) errors.push(flat[i] === flat[i + 1] ? flat[i]! : [flat[i]!, flat[i + 1]!])
    return errors
  },
)

const storedContent: Schema<StoredContent> = record({
  sizeBytes: field(1, integer),
  checksum: field(2, text),
  repoSizeBytes: field(3, integer),
  repoChecksum: optional(4, text),
  bundle: optional(5, record({ id: field(1, integer), offset: field(2, integer) })),
  blocks: optional(6, record({ ...blockShape, mapSizeBytes: field(3, integer) })),
  pages: optional(7, record({ valid: field(1, bool), errors: optional(2, pageErrors) })),
  warning: optional(8, text),
})

const copiedOrNot = variant({
  vanished: [1, nothing],
  unchanged: [2, nothing],
  emptied: [3, nothing],
  resumed: [4, nothing],
  copied: [5, storedContent],
})

const copiedFile = sentAs<CopiedFile, TypeOf<typeof copiedOrNot>>(
  copiedOrNot,
  (copied) => {
    if (copied.outcome !== 'copied') return { kind: copied.outcome, value: {} }
    const { outcome: kind, ...value } = copied
    return { kind, value }
  },
  ({ kind, value }) => (kind === 'copied' ? { outcome: kind, ...value } : { outcome: kind }),
)

/** In the order of the job's files. */
export const copiedFiles: Schema<readonly CopiedFile[]> = list(copiedFile)
