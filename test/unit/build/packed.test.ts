import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Script } from 'node:vm'
import { afterAll, describe, expect, it } from 'vitest'
import { projectRoot } from '../../support/postgres/postgres.ts'

const cli = join(projectRoot, 'dist/cli')
const scratch = mkdtempSync(join(tmpdir(), 'pgts-packed-'))
afterAll(() => rmSync(scratch, { recursive: true }))

function partsOf(packed: string): { code: string; cachedData: Buffer } {
  const bytes = readFileSync(packed)
  const codeEnd = bytes.readUInt32LE(0) + 8
  return { code: bytes.toString('latin1', 8, codeEnd), cachedData: bytes.subarray(Math.ceil(codeEnd / 8) * 8) }
}

/** A copy of the parts of archive.cjs that a test can damage. */
function copyOfArchive(name: string): string {
  const dir = join(scratch, name, 'cli')
  mkdirSync(dir, { recursive: true })
  writeFileSync(join(dir, 'pgts.conf'), `[global]\nrepo1-path=${dir}\n[x]\npg1-path=${dir}/none\n`)
  // Everything else that it loads is linked.
  for (const file of ['terminal.js', 'pino.cjs']) symlinkSync(join(cli, file), join(dir, file))
  for (const file of ['archive.cjs', 'archive.packed']) cpSync(join(cli, file), join(dir, file))
  return dir
}

const SEGMENT = '000000010000000000000001'

function startIn(dir: string, ...args: string[]) {
  const argv = [
    ...args,
    join(dir, 'archive.cjs'),
    `--config=${dir}/pgts.conf`,
    '--stanza=x',
    '--allow-root',
    '--no-log-timestamp',
    'archive-get',
    SEGMENT,
    'y',
  ]
  return spawnSync(process.execPath, argv, { cwd: dir, encoding: 'latin1' })
}

describe('bundles with a code cache', () => {
  it.each(['archive', 'aws', 'pino', 'yaml'])('%s has a code cache that the Node of the build accepts', (name) => {
    const { code, cachedData } = partsOf(join(cli, `${name}.packed`))
    expect(cachedData.length).toBeGreaterThan(100_000)
    const script = new Script(code, { filename: `${name}.cjs`, cachedData })
    expect(script.cachedDataRejected).toBe(false)
  })

  it('work in the same way when Node refuses the code cache, and without one', () => {
    const dir = copyOfArchive('refused')
    const taken = startIn(dir)
    expect(taken.stdout).toContain('check pg1-path')
    const refused = startIn(dir, '--stack-size=900')
    expect([refused.status, refused.stdout]).toEqual([taken.status, taken.stdout])

    const { code } = partsOf(join(dir, 'archive.packed'))
    const head = Buffer.alloc(8)
    head.writeUInt32LE(code.length)
    writeFileSync(join(dir, 'archive.packed'), Buffer.concat([head, Buffer.from(code, 'latin1')]))
    const without = startIn(dir)
    expect([without.status, without.stdout]).toEqual([taken.status, taken.stdout])
  })

  it.each([
    ['missing', (path: string) => rmSync(path)],
    ['empty', (path: string) => truncateSync(path, 0)],
    ['truncated', (path: string) => truncateSync(path, 100_000)],
  ])('are reported as damaged when a file is %s', (name, damage) => {
    const dir = copyOfArchive(name)
    damage(join(dir, 'archive.packed'))
    const { status, stderr } = startIn(dir)
    expect([status, stderr]).toEqual([
      102,
      expect.stringMatching(/^ERROR: \[102\]: pgts is not completely installed: .*\n {7}HINT: install pgts again/),
    ])
  })
})

describe('the entry for archive-push and archive-get', () => {
  it('contains neither unreachable modules nor a library that is loaded on demand', () => {
    const { sources } = JSON.parse(readFileSync(join(cli, 'archive.cjs.map'), 'utf8')) as { sources: string[] }
    const ours = sources.filter((source) => source.includes('/src/'))
    expect(ours.length).toBeGreaterThan(80)
    expect(sources.filter((source) => source.includes('node_modules/'))).toEqual([])
  })

  it('contains the S3 driver, and loads the client of AWS from its own bundle', () => {
    const { code } = partsOf(join(cli, 'archive.packed'))
    expect(code).toContain('../cli/aws.cjs')
    const { sources } = JSON.parse(readFileSync(join(cli, 'archive.cjs.map'), 'utf8')) as { sources: string[] }
    expect(sources.some((source) => source.endsWith('src/storage/s3/requests.ts'))).toBe(true)
  })
})
