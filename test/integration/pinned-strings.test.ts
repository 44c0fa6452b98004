import { readdirSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeTestDir } from '../support/postgres.ts'
import { aSite, type Site } from '../support/site.ts'

/** One stanza in two repositories; later tests use what earlier ones left. */
let site: Site
let repo2: string
beforeAll(async () => {
  repo2 = makeTestDir('repo2')
  const options = { 'repo1-retention-full': '1', 'repo2-path': repo2, 'repo2-retention-full': '1' }
  site = await aSite({ walSegsizeMb: 1, options })
  await site.pgtsOk('stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

const backUp = (...args: string[]) => site.pgts(['--log-level-console=info', ...args, 'backup'])
const logOf = (command: string) => readFileSync(join(site.dir, 'log', `main-${command}.log`), 'utf8')
const labels = (repo: string) => readdirSync(join(repo, 'backup/main')).filter((name) => /^\d{8}-\d{6}F$/.test(name))

describe('the expire of a backup', () => {
  test('is a command of its own on the console, and has its log file', async () => {
    const { code, stdout } = await backUp('--repo=2')
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(
        /new backup label = \d{8}-\d{6}F\n[^]*backup command end: completed successfully \(\d+ms\)\n.*expire command begin \S+: --.*\n[^]*expire command end: completed successfully \(\d+ms\)\n$/,
      ) as string,
    })
    expect(logOf('backup')).not.toContain('expire command')
    expect(logOf('expire')).toMatch(/expire command begin [^]*expire command end: completed successfully/)
    expect(logOf('expire')).not.toContain('start-fast')
  })

  test('removes from the repository of --repo only, or from all', async () => {
    const older = labels(repo2)
    expect((await backUp('--repo=2', '--no-expire-auto', '--type=full')).code).toBe(0)
    expect((await backUp('--repo=1', '--type=full')).code).toBe(0)
    expect(labels(repo2)).toEqual(expect.arrayContaining(older))
    expect((await backUp('--type=incr')).code).toBe(0)
    expect(labels(repo2)).toHaveLength(1)
    expect(labels(repo2)).not.toEqual(older)
  })

  test('that fails in another repository is an error with exit code 104, and the backup is kept', async () => {
    const lost = ['backup.info', 'backup.info.copy'].map((name) => join(repo2, 'backup/main', name))
    for (const path of lost) renameSync(path, `${path}.lost`)
    const { code, stdout } = await backUp('--type=full')
    for (const path of lost) renameSync(`${path}.lost`, path)
    expect({ code, stdout }).toMatchObject({
      code: 104,
      stdout: expect.stringMatching(
        /backup command end: completed successfully [^]*ERROR: \[055\]: repo2: [^]*ERROR: \[104\]: [^]*expire command end: aborted with exception \[104\]\n$/,
      ) as string,
    })
    expect(labels(site.repo)).toHaveLength(1)
    await site.pgtsOk('--repo=1', `--set=${labels(site.repo)[0]}`, 'info')
  })
})
