import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { COMPLETIONS } from '../../scripts/package/man.ts'
import { fetchRuntime, type Runtime } from '../../scripts/package/runtime.ts'
import {
  dataChecksum,
  makeTestDir,
  projectRoot,
  reachableNode,
  runAs,
  runOk,
  startCluster,
  testUser,
} from '../support/postgres/postgres.ts'
import { shellBlocks } from '../support/run/doc-blocks.ts'
import { aSite } from '../support/sites/site.ts'

// `npm run package -- --only=npm`, installed as an administrator would. PGTS_TEST_PACKAGES=all adds Node 22 and 24; the .deb and the
// tarball are in packages-clean-root.test.ts.
const all = process.env['PGTS_TEST_PACKAGES'] === 'all'
const NODES: readonly Runtime[] = [
  {
    version: '20.19.0',
    integrity: 'sha512-HzVYgEgabV/n3nP2F9mcxS0Nxgg99jynX9CMovakLmSYTuTdQRbbtw0yadY8+qKcqXfiDAtb2hmtR7nDPzclGA==',
  },
  {
    version: '22.23.5',
    integrity: 'sha512-3jhC+wcoWxKZxcRqF2sUSl0c9HEXFnur/nuIPx6O6CWKV0jOUWQm7Htw5SuXqqlMCEhi0cJqybFPEb5hhcBiMw==',
  },
  {
    version: '24.22.3',
    integrity: 'sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
  },
]
/** What npm needs of a system; no compiler, make or Python. */
const SYSTEM = ['sh', 'env', 'readlink', 'uname', 'sed', 'cat', 'dirname', 'basename', 'sync']

const prefix = makeTestDir('npm-prefix')
const out = makeTestDir('packages')
const installed = join(prefix, 'lib/node_modules/pgts')
const program = join(prefix, 'bin/pgts')

beforeAll(async () => {
  await execute('node', ['scripts/run.mjs', 'scripts/package.ts', '--only=npm', `--out=${out}`], process.env)
  const bin = makeTestDir('bin')
  for (const name of SYSTEM)
    symlinkSync(spawnSync('which', [name], { encoding: 'utf8' }).stdout.trim(), join(bin, name))
  symlinkSync(process.execPath, join(bin, 'node'))
  symlinkSync(spawnSync('which', ['npm'], { encoding: 'utf8' }).stdout.trim(), join(bin, 'npm'))
  // Another prefix must not hide the global settings (registry, certificates), which npm looks for below it.
  const globalconfig = spawnSync('npm', ['config', 'get', 'globalconfig'], { encoding: 'utf8' }).stdout.trim()
  const env = { ...process.env, PATH: bin, npm_config_prefix: prefix, npm_config_globalconfig: globalconfig }
  const [block] = shellBlocks('docs/guide/install.md', 'npm')
  await execute('sh', ['-ec', block!], env, out)
}, 180_000)

const packed = () =>
  join(
    out,
    readdirSync(out).find((name) => name.endsWith('.tgz'))!,
  )

async function execute(
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  cwd = projectRoot,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`${command} ended with ${code}:\n${text}`))))
  })
}

describe('the npm package, installed without compiler, make and Python', () => {
  test('contains the binary of zstd-napi and nothing that runs at installation but the lookup of koffi', () => {
    expect(existsSync(join(installed, 'node_modules/zstd-napi/build/Release/binding.node'))).toBe(true)
    const scripts = readdirSync(prefix, { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('/package.json'))
      .map((path) => JSON.parse(readFileSync(join(prefix, path), 'utf8')) as PackageJson)
      .filter((manifest) => manifest.scripts?.['install'] ?? manifest.scripts?.['postinstall'])
      .map(({ name }) => name)
    expect(scripts).toEqual(['koffi'])
  })

  test('links its manual pages where man looks for them, and has the completions', () => {
    expect(readFileSync(join(prefix, 'share/man/man1/pgts.1'), 'utf8')).toMatch(/^\.TH PGTS 1 /)
    expect(readFileSync(join(prefix, 'share/man/man1/pgts-backup.1'), 'utf8')).toContain('start\\-fast')
    for (const path of Object.values(COMPLETIONS)) expect(existsSync(join(installed, 'share', path))).toBe(true)
  })

  test('takes at most 35 MB', () => {
    const bytes = readdirSync(prefix, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).blocks * 512, 0)
    expect(bytes).toBeGreaterThan(5_000_000)
    expect(bytes).toBeLessThanOrEqual(35_000_000)
  })

  test('has the checksum that lies beside it, and lists every bundled package with its licence', () => {
    const [expected] = readFileSync(`${packed()}.sha256`, 'utf8').split(' ')
    expect(createHash('sha256').update(readFileSync(packed())).digest('hex')).toBe(expected)
    const bill = JSON.parse(readFileSync(join(installed, 'sbom.cdx.json'), 'utf8')) as {
      components: { name: string; version: string }[]
    }
    const names = bill.components.map(({ name }) => name)
    for (const name of [
      'pg',
      'commander',
      'pino',
      'yaml',
      '@aws-sdk/client-s3',
      '@azure/storage-blob',
      'koffi',
      'zstd-napi',
      'zstd',
    ])
      expect(names).toContain(name)
    const notices = readFileSync(join(installed, 'THIRD-PARTY-NOTICES'), 'utf8')
    for (const { name, version } of bill.components) expect(notices).toContain(`${name} ${version} (`)
  })

  test.each(all ? NODES : [])(
    'backs up and restores with Node $version',
    async (runtime) => {
      const cache = makeTestDir('node')
      const node = join(fetchRuntime(runtime, cache), 'bin/node')
      await mainJob(node)
    },
    180_000,
  )

  test('backs up and restores with the Node that runs the tests', async () => {
    await mainJob(reachableNode())
  }, 120_000)
})

interface PackageJson {
  readonly name: string
  readonly scripts?: Readonly<Record<string, string>>
}

/** stanza-create, check, a full backup in zst, verify, restore, and the same data in the restored server. */
async function mainJob(node: string): Promise<void> {
  const wrapper = { PGTS_NODE: node }
  await using site = await aSite({ version: 17, program, options: { 'compress-type': 'zst' } })
  const { cluster } = site
  const pgts = (...args: string[]) =>
    runOk(program, [`--config=${site.config}`, '--stanza=main', ...args], { env: wrapper, deadlineMs: 120_000 })
  expect((await runAs(testUser, program, ['version'], { env: wrapper })).stdout).toMatch(/^pgts [0-9]/)
  await cluster.query('create table t as select g as id, md5(g::text) as v from generate_series(1, 20000) g')
  await pgts('stanza-create')
  await pgts('check')
  await pgts('--type=full', 'backup')
  await pgts('verify')
  const expected = await dataChecksum(cluster)
  await cluster.stop()
  const dir = join(makeTestDir('restored'), 'data')
  mkdirSync(join(dir, '..'), { recursive: true })
  await pgts(`--pg1-path=${dir}`, '--archive-mode=off', 'restore')
  await using restored = await startCluster({ version: 17, dir, conf: {} })
  await restored.untilPrimary()
  expect(await dataChecksum(restored)).toEqual(expected)
}
