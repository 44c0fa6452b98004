import { expect, test } from 'vitest'
import { progressLine } from '../../../src/cli/render/progress-bar.ts'

const GB = 1024 ** 3
const half = { name: 'copying', unit: 'bytes', total: 10 * GB, done: 4 * GB, elapsedMs: 40_000 } as const

test.each([
  ['size, rate and remaining time', half, 80, 'copying [########            ]  40% 4GB of 10GB, 102.4MB/s, 1m00s left'],
  ['no rate in the first second', { ...half, elapsedMs: 500 }, 80, 'copying [########            ]  40% 4GB of 10GB'],
  [
    'the elapsed time where the end is unknown',
    { name: 'waiting for WAL', unit: 'bytes' as const, done: 0, elapsedMs: 3000 },
    80,
    'waiting for WAL 3.0s',
  ],
  [
    'bytes where only the end is unknown',
    { name: 'verifying repo1', unit: 'bytes' as const, done: GB, elapsedMs: 3000 },
    80,
    'verifying repo1 1GB, 3.0s',
  ],
  [
    'a number of directories',
    { name: 'removing WAL of repo1', unit: 'directories' as const, total: 40, done: 10, elapsedMs: 3000 },
    100,
    'removing WAL of repo1 [#####               ]  25% 10 of 40 directories, 9.0s left',
  ],
  ['only what fits into a narrow terminal', half, 50, 'copying [########            ]  40% 4GB of 10GB'],
  ['the beginning of the phase in a very narrow one', half, 6, 'copyi'],
])('a bar has %s', (_, state, columns, line) => {
  expect(progressLine(state, columns)).toBe(line)
})
