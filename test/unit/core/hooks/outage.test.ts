import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { OutageFiles, withFailure, type Outage } from '../../../../src/core/hooks/outage.ts'

const error = { code: 101, name: 'service', message: 'unreachable', hints: [] } as const
const MINUTE = 60_000

/** Failures at these minutes. @returns the minutes at which the hook is called */
function reportsOf(minutes: readonly number[]): string[] {
  let outage: Outage | undefined
  return minutes.flatMap((minute) => {
    const next = withFailure(outage, { file: '000000010000000000000001', error, nowMs: minute * MINUTE })
    outage = next.outage
    return next.report === undefined ? [] : [`${next.report} ${minute}`]
  })
}

test('an outage is reported at its begin, then after 5, 10, 20, ... minutes, at last every four hours', () => {
  const day = Array.from({ length: 24 * 60 }, (_, minute) => minute)
  expect(reportsOf(day)).toEqual([
    'begun 0',
    ...[5, 15, 35, 75, 155, 315, 555, 795, 1035, 1275].map((minute) => `continues ${minute}`),
  ])
})

test('a clock that was set back does not postpone the next report', () => {
  expect(reportsOf([100, 101, 50, 51])).toEqual(['begun 100', 'continues 50'])
})

test('an outage counts failures and names the last file and error', () => {
  const first = withFailure(undefined, { file: 'A', error, nowMs: 1 }).outage
  const other = { ...error, code: 50 } as const
  expect(withFailure(first, { file: 'B', error: other, nowMs: 2 }).outage).toEqual({
    sinceMs: 1,
    failures: 2,
    reports: 1,
    reportedMs: 1,
    file: 'B',
    error: other,
  })
})

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pgts-outage-'))
  mkdirSync(join(directory, 'lock'))
})
afterEach(() => rmSync(directory, { recursive: true }))
const filesOf = () => new OutageFiles(join(directory, 'spool'), join(directory, 'lock'), 'main')
const { outage } = withFailure(undefined, { file: 'A', error, nowMs: 1 })

test('an outage is kept in the spool until one process ends it', () => {
  expect(filesOf().exists()).toBe(false)
  filesOf().write(outage)
  expect({ exists: filesOf().exists(), outage: filesOf().read(), ended: filesOf().read(true) }).toEqual({
    exists: true,
    outage,
    ended: undefined,
  })
  expect([filesOf().end(), filesOf().end()]).toEqual([true, false])
  expect({ exists: filesOf().exists(), outage: filesOf().read(), ended: filesOf().read(true) }).toEqual({
    exists: false,
    outage: undefined,
    ended: outage,
  })
})

test('an outage is kept in the lock path if the spool cannot be written, and an error if neither can', () => {
  writeFileSync(join(directory, 'spool'), 'not a directory')
  filesOf().write(outage)
  expect(filesOf().read()).toEqual(outage)
  rmSync(join(directory, 'lock'), { recursive: true })
  writeFileSync(join(directory, 'lock'), 'not a directory')
  expect(() => filesOf().write(outage)).toThrow(/ENOTDIR|EEXIST/)
})

test('a file of an outage that is damaged or a link is no outage', () => {
  filesOf().write(outage)
  const path = join(directory, 'spool/archive/main/pgts/outage')
  writeFileSync(path, '{"sinceMs":')
  expect(filesOf().read()).toBeUndefined()
  rmSync(path)
  writeFileSync(join(directory, 'elsewhere'), JSON.stringify(outage))
  chmodSync(join(directory, 'elsewhere'), 0o600)
  symlinkSync(join(directory, 'elsewhere'), path)
  expect(filesOf().read()).toBeUndefined()
})
