import { describe, expect, test } from 'vitest'
import { archiveStatus } from '../../../../src/core/archive/status/archive-status.ts'
import type {
  ArchivingFacts,
  QueueFacts,
  ServerArchiving,
} from '../../../../src/core/archive/status/archiving-facts.ts'

const MIB = 1024 * 1024
const NOW_MS = 1_800_000_000_000
const segment = (number: number) => `0000000100000000000000${number.toString(16).padStart(2, '0').toUpperCase()}`

const server: ServerArchiving = {
  mode: 'on',
  command: 'pgts --stanza=main archive-push %p',
  library: '',
  inRecovery: false,
  lsn: 0xa000060n,
  segmentSize: 16 * MIB,
  archivedCount: 3,
  failedCount: 0,
}
/** `done`: how many seconds ago each was archived. */
function statusOf(done: Readonly<Record<string, number>>, facts: Partial<ServerArchiving> = {}, first?: string) {
  const queue: QueueFacts = {
    files: first === undefined ? 0 : 1,
    bytes: first === undefined ? 0 : 16 * MIB,
    ...(first === undefined ? {} : { first, last: first, sinceMs: NOW_MS - 5000 }),
    acknowledged: 0,
    done: new Map(Object.entries(done).map(([file, seconds]) => [file, NOW_MS - seconds * 1000])),
    ready: new Set(first === undefined ? [] : [first]),
  }
  const all: ArchivingFacts = {
    nowMs: NOW_MS,
    stanza: 'main',
    program: '/usr/bin/pgts',
    pgPath: '/pg',
    queue,
    server: { ...server, ...facts },
  }
  return archiveStatus(all)
}

describe('lag of archiving', () => {
  test('starts after the last archived segment when the last archived file is a backup history file', () => {
    const lastArchived = { file: `${segment(8)}.00000028.backup`, timeMs: NOW_MS - 1000 }
    const { lag } = statusOf({ [segment(8)]: 3, [segment(9)]: 2 }, { lastArchived })
    expect(lag).toEqual({ bytes: 0x60, seconds: 0, of: 'server' })
  })

  test('starts at the first waiting segment', () => {
    expect(statusOf({ [segment(7)]: 3 }, {}, segment(8)).lag).toEqual({ bytes: 0x2000060, seconds: 5, of: 'server' })
  })

  test('uses the newest timeline', () => {
    const newer = segment(9).replace(/^00000001/, '00000002')
    expect(statusOf({ [segment(200)]: 30, [newer]: 2 }).lag?.bytes).toBe(0x60)
  })
})

describe('rate from .done files', () => {
  test('covers the time since the oldest .done file', () => {
    const { rate } = statusOf({
      [segment(6)]: 20,
      [segment(7)]: 12,
      [segment(8)]: 4,
      [`${segment(8)}.00000028.backup`]: 1,
    })
    expect(rate).toEqual({ files: 2, bytes: 32 * MIB, seconds: 20 })
  })

  test('covers at most ten minutes', () => {
    const { rate } = statusOf({ [segment(5)]: 4000, [segment(6)]: 601, [segment(7)]: 599, [segment(8)]: 4 })
    expect(rate).toEqual({ files: 2, bytes: 32 * MIB, seconds: 600 })
  })

  test('is absent without files, and with only one file', () => {
    expect(statusOf({}).rate).toBeUndefined()
    expect(statusOf({ [segment(8)]: 30 }).rate).toBeUndefined()
  })
})
