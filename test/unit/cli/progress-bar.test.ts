import { expect, test } from 'vitest'
import { progressLine } from '../../../src/cli/render/progress-bar.ts'

const GB = 1024 ** 3
const half = { name: 'copying', totalBytes: 10 * GB, doneBytes: 4 * GB, elapsedMs: 40_000 }

test.each([
  ['size, rate and remaining time', half, 80, 'copying [########            ]  40% 4GB of 10GB, 102.4MB/s, 1m00s left'],
  ['no rate in the first second', { ...half, elapsedMs: 500 }, 80, 'copying [########            ]  40% 4GB of 10GB'],
  [
    'the elapsed time where the end is unknown',
    { name: 'waiting for WAL', doneBytes: 0, elapsedMs: 3000 },
    80,
    'waiting for WAL 3.0s',
  ],
  [
    'bytes where only the end is unknown',
    { name: 'verifying repo1', doneBytes: GB, elapsedMs: 3000 },
    80,
    'verifying repo1 1GB, 3.0s',
  ],
  ['only what fits into a narrow terminal', half, 50, 'copying [########            ]  40% 4GB of 10GB'],
  ['the beginning of the phase in a very narrow one', half, 6, 'copyi'],
])('a bar has %s', (_, state, columns, line) => {
  expect(progressLine(state, columns)).toBe(line)
})
