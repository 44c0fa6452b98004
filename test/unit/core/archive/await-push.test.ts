import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readArchivingFacts } from '../../../../src/core/archive/status/archiving-facts.ts'
import { awaitPush } from '../../../../src/core/archive/push/await-push.ts'
import { writePushStatus } from '../../../../src/core/archive/status/push-status.ts'
import { diagnose } from '../../../../src/core/archive/status/diagnose.ts'
import { prepareSpool, spoolPaths } from '../../../../src/core/archive/spool/spool-files.ts'
import { writePid } from '../../../../src/core/archive/spool/spool-lock.ts'
import { systemClock } from '../../../../src/util/clock.ts'
import { silentLogger } from '../../../../src/util/log.ts'

const NAME = '000000010000000000000007'
let dir: string

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-await-'))
  mkdirSync(join(dir, 'pg/pg_wal/archive_status'), { recursive: true })
  writeFileSync(join(dir, `pg/pg_wal/${NAME}`), '')
  writeFileSync(join(dir, `pg/pg_wal/archive_status/${NAME}.ready`), '')
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

/** What PostgreSQL's log shows when the file is not pushed in time. */
async function hintsOfTimeout(ended?: string): Promise<readonly string[]> {
  const spool = spoolPaths(join(dir, 'spool'), 'main')
  const place = { stanza: 'main', program: '/usr/bin/pgts', pgPath: join(dir, 'pg'), spoolPath: join(dir, 'spool') }
  const push = awaitPush({
    file: NAME,
    walPath: join(dir, 'pg/pg_wal'),
    spool,
    owned: spool,
    timeoutMs: 20,
    queueMaxBytes: undefined,
    start: async () => ({ pid: 1, ended: () => ended }),
    explain: async (segment) =>
      diagnose(await readArchivingFacts(place, systemClock.nowMs()), { segment }).map(({ text }) => text),
    logFile: '/var/log/the.log',
    clock: systemClock,
    log: silentLogger,
    signal: new AbortController().signal,
  })
  const error = await push.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toMatchObject({ code: 'archive-timeout', message: expect.stringContaining(NAME) as string })
  return (error as { hints: readonly string[] }).hints
}

test('a timeout of archive-push names the failing repository and the file in flight', async () => {
  const spool = spoolPaths(join(dir, 'spool'), 'main')
  prepareSpool(spool)
  writePid(spool, 'push')
  const nowMs = systemClock.nowMs()
  const outage = { sinceMs: nowMs - 60_000, failures: 4, nextTryMs: nowMs, message: 'no room is left' }
  writePushStatus(spool, {
    pid: process.pid,
    state: 'working',
    startedMs: nowMs - 90_000,
    updatedMs: nowMs,
    queue: { files: 1, bytes: 1024, first: NAME, last: NAME, sinceMs: nowMs - 60_000 },
    inHand: [{ file: NAME, sinceMs: nowMs - 60_000 }],
    pushed: { files: 0, bytes: 0 },
    rate: { files: 0, bytes: 0, ms: 60_000 },
    repositories: [{ key: 1 }, { key: 2, trouble: outage }],
  })
  const hints = await hintsOfTimeout()
  expect(hints[0]).toMatch(/storing in repo2 has been failing for 1 min, 4 attempts so far: no room is left/)
  expect(hints[1]).toMatch(new RegExp(`has been pushing ${NAME} for 1 min: check the repositories and the network`))
  expect(hints.at(-1)).toContain('/var/log/the.log')
})

test('a timeout of archive-push reports that the background process has ended', async () => {
  prepareSpool(spoolPaths(join(dir, 'spool'), 'main'))
  expect((await hintsOfTimeout('with exit code 3'))[0]).toMatch(/the last one ended with exit code 3/)
})
