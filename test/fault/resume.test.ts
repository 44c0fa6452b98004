import { appendFileSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { labelsOf, restoredData } from '../support/sites/chain.ts'
import { dataChecksum } from '../support/postgres/postgres.ts'
import { aSite, type Site } from '../support/sites/site.ts'

// One thread with the highest compression level, which saves the partial manifest at once.
const SLOW = ['--process-max=1', '--compress-level=9', '--manifest-save-threshold=1B']
const TABLES = 12

let site: Site
beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 16, version: 16, options: { 'compress-type': 'gz', 'repo1-retention-full': '3' } })
  for (let i = 0; i < TABLES; i++)
    await site.cluster.query(
      `create table t${i} as select g as id, md5(g::text) || md5((g + 7)::text) as v from generate_series(1, 25000) g`,
    )
  await writeHintBits()
  await site.pgtsOk('stanza-create')
}, 120_000)
afterAll(() => site[Symbol.asyncDispose]())

/** The first read of a new row writes hint bits to its page, which would change every file. */
async function writeHintBits(): Promise<void> {
  await site.cluster.query('vacuum freeze')
  await site.cluster.query('checkpoint')
}

const directory = (label: string) => join(site.repo, 'backup/main', label)
const finished = (label: string) => existsSync(join(directory(label), 'backup.manifest'))
/** Files of tables. */
const stored = (label: string) =>
  (readdirSync(directory(label), { recursive: true }) as string[]).filter((name) => /base\/\d+\/\d+\.gz$/.test(name))

/** Interrupt a backup when it has stored some of the tables. Returns its label. */
async function interrupted(args: readonly string[], signal: NodeJS.Signals): Promise<string> {
  const before = new Set(labelsOf(site))
  let pid = 0
  let ended = false
  const run = site.pgts([...args, ...SLOW, 'backup'], { onStart: (started) => (pid = started) })
  void run.finally(() => (ended = true))
  let label: string | undefined
  for (;;) {
    if (ended) throw new Error(`the backup ended before it could be interrupted: ${(await run).stdout}`)
    label = labelsOf(site).find((name) => !before.has(name))
    if (label !== undefined && pid !== 0 && stored(label).length >= 6) break
    await sleep(2)
  }
  process.kill(pid, signal)
  await run
  expect(finished(label)).toBe(false)
  return label
}

async function resumedOutput(args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await site.pgtsOk(...args, '--log-level-console=detail', 'backup')
  return stdout + stderr
}

test('a killed full is resumed under its label; truncated or damaged stored files are copied again', async () => {
  const label = await interrupted(['--type=full'], 'SIGKILL')
  const [damaged] = stored(label)
  appendFileSync(join(directory(label), damaged!), 'x')
  appendFileSync(join(directory(label), 'pg_data/base/left-over.gz'), 'x')
  await site.cluster.query('update t3 set id = id where id < 10; insert into t4 select 1; checkpoint')

  const data = await dataChecksum(site.cluster)
  const output = await resumedOutput(['--type=full'])
  expect(output).toMatch(new RegExp(`resume interrupted backup ${label}`))
  expect(output.match(/checksum resumed file/g)?.length).toBeGreaterThanOrEqual(2)
  expect(output).toMatch(/remove .*left-over\.gz of the interrupted backup/)
  expect(finished(label)).toBe(true)
  expect(existsSync(join(directory(label), 'pg_data/base/left-over.gz'))).toBe(false)
  expect(await restoredData(site, 'pgts', label)).toEqual(data)
}, 120_000)

test('an interrupted incr is resumed; with another type or without resume it is removed', async () => {
  for (let i = 0; i < TABLES; i++) await site.cluster.query(`update t${i} set v = md5(v) || v`)
  await writeHintBits()
  const label = await interrupted(['--type=incr'], 'SIGTERM')
  const data = await dataChecksum(site.cluster)
  expect(await resumedOutput(['--type=incr'])).toMatch(/checksum resumed file/)
  expect(finished(label)).toBe(true)
  expect(await restoredData(site, 'pgts', label)).toEqual(data)

  for (let i = 0; i < TABLES; i++) await site.cluster.query(`update t${i} set v = md5(v) || v`)
  await writeHintBits()
  const other = await interrupted(['--type=incr'], 'SIGTERM')
  expect(await resumedOutput(['--type=diff'])).toMatch(/cannot be resumed and is removed: its type is incr/)
  expect(existsSync(directory(other))).toBe(false)

  const unwanted = await interrupted(['--type=full'], 'SIGTERM')
  expect(await resumedOutput(['--type=full', '--no-resume'])).toMatch(/cannot be resumed and is removed: resume is off/)
  expect(existsSync(directory(unwanted))).toBe(false)
}, 180_000)
