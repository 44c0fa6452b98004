import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { atEnd, dataChecksum, giveToTestUser, makeTestDir, reachableNode } from '../support/postgres/postgres.ts'
import { allProcesses, isGone, signal } from '../support/processes/processes.ts'
import { aReplica, asyncGetLog, recovering, restore, untilArchived, ways } from '../support/sites/replica.ts'
import { aSite } from '../support/sites/site.ts'
import { NumberedRows, numbersOf, segmentsWanted, WAL_SEGMENT_MB } from '../support/sites/storm.ts'
import { until } from '../support/until.ts'

const SEGMENTS = segmentsWanted(60)

/** Replaces Node, and records each start. */
function countedNode(): { readonly program: string; starts(): string[] } {
  const dir = makeTestDir('node')
  const program = join(dir, 'node')
  const record = join(dir, 'starts')
  writeFileSync(program, `#!/bin/sh\necho "$*" >>'${record}'\nexec '${reachableNode()}' "$@"\n`)
  chmodSync(program, 0o755)
  giveToTestUser(dir)
  return {
    program,
    starts: () => (existsSync(record) ? readFileSync(record, 'utf8').split('\n').slice(0, -1) : []),
  }
}

test(`${SEGMENTS} segments replay through the launcher, also when the background process is killed`, async () => {
  await using site = await aSite({
    walSegsizeMb: WAL_SEGMENT_MB,
    options: { 'compress-type': 'zst', 'archive-async': 'y' },
  })
  const { cluster } = site
  atEnd(() => {
    for (const { pid, args } of allProcesses())
      if (args.some((arg) => arg.startsWith(`--config=${site.dir}`))) signal(pid, 'SIGKILL')
  })
  await site.pgtsOk('stanza-create')
  const rows = new NumberedRows(cluster)
  await rows.create()
  await site.pgtsOk('--type=full', 'backup')
  for (let i = 0; i < SEGMENTS; i++) await rows.write()
  await untilArchived(cluster, 300_000)
  const checksum = await dataChecksum(cluster)

  const node = countedNode()
  const replica = aReplica(site, {
    environment: `PGTS_NODE='${node.program}'`,
    options: { 'archive-get-queue-max': `${16 * WAL_SEGMENT_MB}MiB` },
  })
  await restore(replica)
  // It starts with the first call of the server, and is killed during its work.
  const pidFile = join(replica.spool, 'pgts', 'get.pid')
  const killed = (async () => {
    await until('segments that are fetched ahead', () => /fetched [0-9A-F]{24} ahead/.test(asyncGetLog(replica)))
    const pid = Number(readFileSync(pidFile, 'utf8'))
    expect(signal(pid, 'SIGKILL')).toBe(true)
    await until('its end', () => isGone(pid))
    return pid
  })()
  const started = performance.now()
  await using copy = await recovering(site, replica)
  await copy.untilPrimary(300_000)
  const seconds = (performance.now() - started) / 1000
  await killed

  expect(await numbersOf(copy)).toEqual(Array.from({ length: SEGMENTS }, (_, i) => i + 1))
  expect(await dataChecksum(copy)).toEqual(checksum)
  const gets = node.starts().filter((call) => / archive-get /.test(call))
  const { synchronous, ahead } = ways(copy, replica)
  if (process.env['PGTS_TEST_SHOW'] !== undefined)
    console.log(`${seconds.toFixed(1)} s, Node started ${gets.length} times, ${synchronous.size} fetched by calls`)
  expect(new Set([...synchronous, ...ahead]).size).toBeGreaterThanOrEqual(SEGMENTS)
  // The launcher answered without Node, also on a busy machine.
  expect(gets.length).toBeLessThan(SEGMENTS)
}, 1_200_000)
