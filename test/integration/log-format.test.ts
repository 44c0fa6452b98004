import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { aSite, type Site } from '../support/sites/site.ts'

const PASSPHRASE = 'wq0t7B1sSxDieQfA8CMxAU'

let site: Site
beforeAll(async () => {
  const options = { 'repo1-cipher-type': 'aes-256-cbc', 'repo1-cipher-pass': PASSPHRASE, 'repo1-retention-full': '1' }
  site = await aSite({ walSegsizeMb: 1, options })
  await site.pgtsOk('stanza-create')
}, 60_000)
afterAll(() => site?.[Symbol.asyncDispose]())

type Line = Readonly<Record<string, unknown>>
const linesOf = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)

test('a backup writes only JSON to console and file, from its begin to its end', async () => {
  const logged = ['--log-format=json', '--log-level-console=info', '--log-level-file=detail']
  const { stdout, stderr } = await site.pgtsOk(...logged, 'backup')
  expect(stderr).toBe('')
  const lines = linesOf(stdout)
  expect(new Set(lines.map(({ command }) => command))).toEqual(new Set(['backup', 'expire']))
  expect(lines[0]).toMatchObject({ stanza: 'main', message: expect.stringContaining('<redacted>') as string })
  const ends = lines.filter(({ message }) => String(message).includes('command end: completed'))
  expect(ends.map(({ command, fields }) => ({ command, fields }))).toEqual(
    ['backup', 'expire'].map((command) => ({
      command,
      fields: { exitCode: 0, durationMs: expect.any(Number) as number },
    })),
  )
  const file = readFileSync(join(site.dir, 'log/main-backup.log'), 'utf8')
  expect(linesOf(file).some(({ level }) => level === 'detail')).toBe(true)
  expect(stdout + file).not.toContain(PASSPHRASE)
}, 120_000)

test('an error in the configuration is JSON if the command line asks for it', async () => {
  const { code, stdout } = await site.pgts(['--log-format=json', '--process-max=many', 'backup'])
  expect(code).toBe(32)
  expect(linesOf(stdout)).toEqual([expect.objectContaining({ level: 'error', code: 32 })])
})
