import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  dataChecksum,
  giveToTestUser,
  makeTestDir,
  pgtsProgram,
  projectRoot,
  runAs,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'

const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8')

/** Fenced blocks of one language, in order, without their indentation. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^( *)```(\w+)\n([\s\S]*?)^ *```$/gm)]
    .filter((match) => match[2] === language)
    .map((match) => match[3]!.replaceAll(new RegExp(`^${match[1]}`, 'gm'), ''))
}

const commands = blocks('sh').flatMap((block) => block.trim().split('\n'))

test('the commands of the README are those of CI', () => {
  expect(commands).toContain('npm ci && npm run demo')
  expect(commands).toContain('npm ci && npm test')
  const ci = readFileSync(join(projectRoot, '.ci/run'), 'utf8')
  for (const part of ['npm ci', 'npm run --silent demo', 'npm test']) expect(ci).toContain(part)
})

test('the steps of the README to the first backup succeed as written', async () => {
  const dir = makeTestDir('readme')
  const bin = join(dir, 'bin')
  mkdirSync(bin)
  symlinkSync(pgtsProgram(), join(bin, 'pgts'))
  const config = join(dir, 'pgts.yaml')
  giveToTestUser(dir)
  // The environment of cron; the program is called by its path. init writes these paths into the configuration.
  const prefix = `env -i PATH=/usr/bin:/bin PGTS_NODE=${process.execPath} PGTS_CONFIG=${config}`
  const asWritten = (line: string) => {
    expect(line).toMatch(/^\/usr\/local\/bin\/pgts /)
    return line.replace('/usr/local/bin/pgts', join(bin, 'pgts'))
  }
  await using cluster = await startCluster({ version: 17 })
  const paths = { LOG_PATH: 'log', LOCK_PATH: 'lock', REPO1_PATH: 'repository' }
  const ofInit = [
    ...Object.entries(paths).map(([name, directory]) => `PGTS_${name}=${dir}/${directory}`),
    `PGTS_PG1_PATH=${cluster.dataDir} PGTS_PG1_USER=postgres PGTS_YES=y`,
  ].join(' ')
  await cluster.query('create table t as select i, md5(i::text) from generate_series(1, 1000) i')

  const run = async (line: string) => {
    const result = await runAs(testUser, 'sh', ['-c', `${prefix} ${asWritten(line)}`], { cwd: dir, deadlineMs: 90_000 })
    expect(result, line).toMatchObject({ code: 0, stderr: '' })
    return result.stdout
  }
  const lines = commands.filter((line) => line.startsWith('/usr/local/bin/pgts '))
  expect(lines.map((line) => line.split(' ').at(-1))).toEqual(['init', 'info', 'restore', 'restore'])
  const init = () =>
    runAs(testUser, 'sh', ['-c', `${prefix} ${ofInit} ${asWritten(lines[0]!)}`], { cwd: dir, deadlineMs: 90_000 })
  expect(await init()).toMatchObject({ code: 0, stdout: expect.stringContaining('restart the server: ') as string })
  await cluster.restart()
  expect(await init()).toMatchObject({ code: 0, stdout: expect.stringContaining('pgts is set up.') as string })
  expect(await run(lines[1]!)).toMatch(/stanza: main\n {4}status: ok\n[^]*full backup: \d{8}-\d{6}F\n/)

  const cron = [
    ...blocks('text')
      .join('\n')
      .matchAll(/^30 1 \* \* [0-6-]+ +(\/.*)$/gm),
  ].map((match) => match[1]!)
  expect(cron).toHaveLength(2)
  for (const line of cron) expect(await run(line), 'cron mails what is printed').toBe('')
  const { stdout: after } = await runAs(testUser, 'sh', ['-c', `${prefix} ${bin}/pgts info`], { cwd: dir })
  expect(after.match(/(full|incr) backup: /g)).toEqual(['full backup: ', 'full backup: ', 'incr backup: '])

  await cluster.query('insert into t select i from generate_series(1, 10) i')
  const expected = await dataChecksum(cluster)
  await cluster.stop()
  expect(await run(lines[2]!)).toBe('')
  await cluster.start()
  await cluster.untilPrimary()
  expect(await dataChecksum(cluster)).toEqual(expected)

  await sleep(1100)
  const target = String((await cluster.query('select clock_timestamp()::text as now'))[0]!['now'])
  await sleep(100)
  await cluster.query('drop table t')
  await cluster.query('select pg_switch_wal()')
  await cluster.stop()
  const timed = lines[3]!.replace(/--target='[^']*'/, `--target='${target}'`)
  expect(timed).toContain(target)
  expect(await run(timed)).toBe('')
  await cluster.start()
  await cluster.untilPrimary()
  expect(await dataChecksum(cluster)).toEqual(expected)
}, 180_000)

/** `pgts ...` in code spans and blocks of the guides, where it is a whole command. */
function guideCommands(): string[] {
  const directory = join(projectRoot, 'docs/guide')
  return readdirSync(directory).flatMap((name) => {
    const text = readFileSync(join(directory, name), 'utf8')
    const spans = [...text.matchAll(/`((?:\/usr\/local\/bin\/)?pgts [^`\n]*--[^`\n]*)`/g)].map((match) => match[1]!)
    const fenced = [...text.matchAll(/^ *```\w*\n([^]*?)^ *```$/gm)].map((match) => match[1]!).join('')
    const lines = [...fenced.matchAll(/^ *(?:(?:[0-9*,-]+ +){5})?((?:\/usr\/local\/bin\/)?pgts .+)$/gm)].map(
      (match) => match[1]!,
    )
    return [...spans, ...lines]
  })
}

test('every command in the guides that needs a stanza has --stanza', () => {
  const needing =
    /\s(backup|expire|check|restore|verify|archive-push|archive-get|annotate|pin|unpin|manifest|lease|stanza-\w+)\b/
  const lines = guideCommands()
  expect(lines.length).toBeGreaterThan(10)
  const without = lines.filter((line) => needing.test(line) && !/--stanza=| help /.test(line))
  // check without a stanza checks each of them.
  expect(without.filter((line) => !/^pgts check\b/.test(line))).toEqual([])
})
