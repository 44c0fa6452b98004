import { describe, expect, test } from 'vitest'
import { networkError } from '../../../src/storage/http/network-error.ts'
import { posixError } from '../../../src/storage/posix-error.ts'
import { isHostError, toPlainError } from '../../../src/util/error.ts'
import { fittingWorkers, openFilesLimit } from '../../../src/util/open-files.ts'

describe('workers and the limit of open files', () => {
  test.each([
    { wanted: 96, withStore: false, limit: 1024, workers: 96 },
    { wanted: 96, withStore: false, limit: 256, workers: 17 },
    { wanted: 96, withStore: true, limit: 1024, workers: 19 },
    { wanted: 96, withStore: true, limit: 65_536, workers: 96 },
    { wanted: 999, withStore: true, limit: Infinity, workers: 999 },
    { wanted: 4, withStore: true, limit: 20, workers: 1 },
  ])('$wanted wanted with $limit (store: $withStore): $workers', ({ wanted, withStore, limit, workers }) => {
    expect(fittingWorkers(wanted, withStore, limit)).toBe(workers)
  })

  test('reads the limit of this process', () => {
    expect(openFilesLimit()).toBeGreaterThan(20)
  })
})

describe.each(['EMFILE', 'ENFILE'])('%s is an error of this host that names ulimit', (code) => {
  const raw = Object.assign(new Error(`${code}: too many open files, open '/x'`), { code })

  test('as it comes from Node', () => {
    expect(toPlainError(raw)).toMatchObject({ code: 'file-open', message: raw.message })
    expect(toPlainError(raw).hints.join()).toContain('ulimit -n')
    expect(isHostError(raw)).toBe(true)
  })

  test.each([
    ['of a file', posixError('open', '/x', raw)],
    ['of a connection', networkError('cannot read s3://b/x', raw)],
  ])('%s', (_name, error) => {
    expect(error.message).toContain('too many open files')
    expect(error.hints.join()).toContain('ulimit -n')
    expect(isHostError(error)).toBe(true)
  })
})
