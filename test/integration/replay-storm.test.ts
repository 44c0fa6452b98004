import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { atEnd, dataChecksum, giveToTestUser, makeTestDir, reachableNode } from '../support/postgres/postgres.ts'
import { allProcesses, isGone, signal } from '../support/processes/processes.ts'
import {
  aReplica,
  asyncGetLog,
  recovering,
  type Replica,
  restore,
  untilArchived,
  ways,
} from '../support/sites/replica.ts'
import { aSite } from '../support/sites/site.ts'
import { NumberedRows, numbersOf, segmentsWanted, WAL_SEGMENT_MB } from '../support/sites/storm.ts'
import { until } from '../support/until.ts'

/** Who answers the launcher, and how many segments are replayed: the resident process is a sample. */
const MODES = [
  { who: 'background process', segments: segmentsWanted(60) },
  { who: 'resident process', segments: segmentsWanted(30) },
] as const

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

test.each(MODES)(
  '$segments segments replay through the launcher, also when the $who is killed',
  async (mode) => {
    const { segments } = mode
    const isResident = mode.who === 'resident process'
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
    for (let i = 0; i < segments; i++) await rows.write()
    await untilArchived(cluster, 300_000)
    const checksum = await dataChecksum(cluster)

    const node = countedNode()
    const replica = aReplica(site, {
      environment: `PGTS_NODE='${node.program}'`,
      options: { 'archive-async': isResident ? 'n' : 'y', 'archive-get-queue-max': `${16 * WAL_SEGMENT_MB}MiB` },
    })
    await restore(replica)
    // It starts with the first call of the server, and is killed during its work.
    const working = isResident ? /found [0-9A-F]{24} in the archive/ : /fetched [0-9A-F]{24} ahead/
    const killed = (async () => {
      await until('segments that it fetched', () => working.test(asyncGetLog(replica)))
      const pid = processOf(replica)
      expect(signal(pid, 'SIGKILL')).toBe(true)
      await until('its end', () => isGone(pid))
    })()
    const started = performance.now()
    // With lines on the console no resident process is started.
    const restoreCommand = isResident
      ? replica.restoreCommand.replace('--log-level-console=info', '')
      : replica.restoreCommand
    await using copy = await recovering(site, { ...replica, restoreCommand })
    await copy.untilPrimary(300_000)
    const seconds = (performance.now() - started) / 1000
    await killed

    expect(await numbersOf(copy)).toEqual(Array.from({ length: segments }, (_, i) => i + 1))
    expect(await dataChecksum(copy)).toEqual(checksum)
    const gets = node.starts().filter((call) => / archive-get /.test(call))
    const { synchronous, ahead } = ways(copy, replica)
    if (process.env['PGTS_TEST_SHOW'] !== undefined)
      console.log(`${seconds.toFixed(1)} s, Node started ${gets.length} times, ${synchronous.size} fetched by calls`)
    if (!isResident) expect(new Set([...synchronous, ...ahead]).size).toBeGreaterThanOrEqual(segments)
    // The launcher answered without Node, also on a busy machine.
    expect(gets.length).toBeLessThan(segments)
  },
  1_200_000,
)

/** The process that answers the launcher. */
function processOf({ config }: Replica): number {
  const found = allProcesses().find(
    ({ args }) => args.includes(`--config=${config}`) && args.includes('archive-get:async'),
  )
  if (found === undefined) throw new Error('no process fetches segments')
  return found.pid
}
