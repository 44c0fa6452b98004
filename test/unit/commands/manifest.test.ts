import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isPgtsError } from '../../../src/util/error.ts'
import { runInProcess } from '../../support/processes/in-process.ts'

/** A repository that pgbackrest 2.59.1 wrote; the expected output is that of pgbackrest. */
const REPO = fileURLToPath(new URL('../../vectors/blocks/2.59.1-gz/repo', import.meta.url))
const FULL = '20261122-152946F'
const DIFF = `${FULL}_20261122-152949D`
const INCR = `${FULL}_20261122-152949I`

async function manifest(...args: string[]): Promise<string> {
  const argv = ['--no-config', '--stanza=demo', `--repo1-path=${REPO}`, ...args, 'manifest']
  const { outcome } = await runInProcess(argv, REPO)
  let text = ''
  for await (const piece of outcome.pieces ?? []) text += piece.toString()
  return text
}

test('manifest prints one file with its blocks as JSON', async () => {
  expect(await manifest(`--set=${INCR}`, '--output=json', '--filter=pg_data/base/5/50000')).toBe(
    `{"label":"${INCR}","reference":["${FULL}","${DIFF}","${INCR}"],"type":"incr",` +
      '"time":{"start":1795361389,"copy":1795361389,"stop":1795361389},"bundle":{"bundle":true,"raw":true},' +
      '"block":{"block":true},"fileList":[{"name":"pg_data/base/5/50000","size":8192,' +
      '"checksum":"d0362614ca38f602251c66e34b60887a020d84ca","repo":{"size":15},"bundle":{"id":1,"offset":0},' +
      '"block":{"size":8192,"map":{"size":15,"delta":[{"reference":1,"read":{"total":1,"size":384},' +
      '"superBlock":{"total":1,"size":57344},"block":{"total":1}}]},"checksum":{"size":6}}}]}',
  )
})

test('manifest prints the newest backup and one file with its blocks as text', async () => {
  const text = await manifest('--filter=pg_data/base/5/50000')
  expect(text.replace(/^time: .*\n/m, '')).toBe(`label: ${INCR}
reference: ${FULL}, ${DIFF}, ${INCR}
type: incr
bundle: true
block: true

file list:
  - pg_data/base/5/50000
      size: 8KB, repo 15B
      checksum: d0362614ca38f602251c66e34b60887a020d84ca
      bundle: 1
      block: size 8KB, map size 15B, checksum size 6B
      block delta:
        reference: ${DIFF}/bundle/1, read: 1/384B, superBlock: 1/56KB, block: 1/8KB
        total read: 1/384B, superBlock: 1/56KB, block: 1/8KB
`)
})

test('manifest --reference selects files by the backup that stores them', async () => {
  const names = async (...args: string[]) =>
    (JSON.parse(await manifest('--output=json', ...args)) as { fileList: { name: string; reference?: string }[] })
      .fileList
  const all = await names(`--set=${INCR}`)
  const own = await names(`--set=${INCR}`, '--reference=latest')
  expect(own).toEqual(all.filter(({ reference }) => reference === undefined))
  expect(own).toEqual(await names(`--set=${INCR}`, `--reference=${INCR}`))
  const full = await names(`--set=${INCR}`, `--reference=${FULL}`)
  expect(full).toEqual(all.filter(({ reference }) => reference === FULL))
  expect([own.length > 0, full.length > 0, own.length + full.length < all.length + 1]).toEqual([true, true, true])
  // Blocks are shown for a single file only.
  expect(JSON.stringify(all)).not.toContain('delta')
})

test.each([
  [['--set=nothing'], 'option-invalid-value', "'nothing' is not a backup label"],
  [['--set=20200101-000000F'], 'file-missing', 'neither'],
  [['--filter=pg_data/nothing'], 'file-missing', `backup ${INCR} has no file pg_data/nothing`],
])('manifest %j is refused', async (args, code, words) => {
  const error: unknown = await manifest(...args).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!isPgtsError(error)) throw new Error('no error was thrown')
  expect(error.code).toBe(code)
  expect(error.message).toContain(words)
})
