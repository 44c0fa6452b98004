import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, afterAll, describe, expect, test } from 'vitest'
import { Installation } from '../support/processes/installation.ts'
import {
  giveToTestUser,
  makeTestDir,
  reachableNode,
  runAs,
  testUser,
  type RunOptions,
  type RunResult,
} from '../support/postgres/postgres.ts'
import { unarchivedSegment, untilArchived } from '../support/sites/replica.ts'
import { aSite, type Site } from '../support/sites/site.ts'

let site: Site
let installation: Installation
/** In the archive, compressed by zst. */
let archived: string
/** In pg_wal, not archived yet. */
let waiting: string
/** A second repository, in which everything is compressed by gz. */
let second: string

const ZSTD = 'node_modules/zstd-napi/build'
const KOFFI = 'node_modules/koffi'
const KERNELS = 'dist/cli/kernels.wasm'

function pgts(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return installation.run([`--config=${site.config}`, '--stanza=main', '--no-log-timestamp', ...args], options)
}

const walPath = (name: string) => join(site.cluster.dataDir, 'pg_wal', name)
const backups = () => readdirSync(join(site.repo, 'backup/main')).sort()

/** Another repository with an empty stanza. */
async function aRepository(): Promise<string> {
  const path = makeTestDir('repo')
  // The background process of another test may hold the site's locks.
  await site.pgtsOk(`--repo1-path=${path}`, `--lock-path=${makeTestDir('lock')}`, 'stanza-create')
  return path
}

function expectIncomplete(result: RunResult, module: string, code = 102): void {
  const said = result.stdout + result.stderr
  expect(said).toContain('pgts is not completely installed: ')
  expect(said).toContain(module)
  expect(said).toMatch(/HINT: .*install pgts again/)
  expect(said).not.toMatch(/damaged|corrupt|not intact|recover to a target|cannot take the lock|ASSERT|\n\s+at /)
  expect(result.code).toBe(code)
}

beforeAll(async () => {
  site = await aSite({ walSegsizeMb: 1, dataChecksums: true, options: { 'compress-type': 'zst', 'process-max': '2' } })
  installation = new Installation()
  const { cluster } = site
  await site.pgtsOk('stanza-create')
  await site.pgtsOk('--type=full', 'backup')
  const switched = async () =>
    String((await cluster.query('select pg_walfile_name(pg_switch_wal()) as name'))[0]!['name'])
  archived = await switched()
  await untilArchived(cluster)
  second = await aRepository()
  await site.pgtsOk(`--repo1-path=${second}`, '--compress-type=gz', 'archive-push', walPath(archived))
  waiting = await unarchivedSegment(cluster)
})
afterAll(() => site[Symbol.asyncDispose]())

describe('an installation without the library of zst', () => {
  const without = <T>(work: () => Promise<T>): Promise<T> => installation.without(ZSTD, 'missing', work)
  const wanted = () => join(makeTestDir('wanted'), 'RECOVERYXLOG')

  test('archive-get names the library and writes nothing; in archive recovery it stops the server', async () => {
    await without(async () => {
      const target = wanted()
      expectIncomplete(await pgts(['archive-get', archived, target]), 'zstd-napi')
      const cwd = makeTestDir('recovering')
      writeFileSync(join(cwd, 'recovery.signal'), '')
      const stopped = await pgts(['archive-get', archived, target], { cwd })
      expectIncomplete(
        stopped,
        `recovery stops here, because it is not known whether ${archived} is in the archive`,
        200,
      )
      expect(existsSync(target)).toBe(false)
    })
  })

  test('archive-get reads the copy of another repository with another compression', async () => {
    await without(async () => {
      const target = wanted()
      const result = await pgts([`--repo2-path=${second}`, 'archive-get', archived, target])
      expect(result.code).toBe(0)
      expect(result.stdout).toMatch(/WARN: repo1: \[102\] pgts is not completely installed: zstd-napi cannot be loaded/)
      expect(readFileSync(target).equals(readFileSync(walPath(archived)))).toBe(true)
    })
  })

  test('verify reports the library instead of faulty files', async () => {
    await without(async () => expectIncomplete(await pgts(['verify']), 'zstd-napi'))
  })

  test('restore does not change the target', async () => {
    const target = join(makeTestDir('restored'), 'data')
    await without(async () => expectIncomplete(await pgts([`--pg1-path=${target}`, 'restore']), 'zstd-napi'))
    expect(existsSync(target)).toBe(false)
  })

  test('backup fails before it begins backup mode', async () => {
    const before = backups()
    await without(async () => expectIncomplete(await pgts(['--type=full', 'backup']), 'zstd-napi'))
    expect(backups()).toEqual(before)
  })

  test('archive-push names the library, synchronously or in the background', async () => {
    const push = ['archive-push', walPath(waiting)]
    await without(async () => {
      expectIncomplete(await pgts(push), 'zstd-napi')
      expectIncomplete(await pgts(['--archive-async', ...push]), 'zstd-napi')
    })
    // The background process loads the library as soon as it is installed.
    expect((await pgts(['--archive-async', ...push])).code).toBe(0)
  })

  test('commands with another compression succeed', async () => {
    await without(async () => {
      for (const type of ['gz', 'lz4', 'bz2', 'none']) {
        const options = [`--repo1-path=${await aRepository()}`, `--compress-type=${type}`]
        expect((await pgts([...options, 'archive-push', walPath(archived)])).code).toBe(0)
      }
    })
  })
})

describe('an installation without koffi', () => {
  const without = <T>(work: () => Promise<T>): Promise<T> => installation.without(KOFFI, 'missing', work)

  test.each([['backup'], ['expire'], ['stanza-upgrade']])('%s does not report a held lock', async (command) => {
    await without(async () => expectIncomplete(await pgts([command]), 'koffi cannot be loaded'))
  })

  test('archive-push works without the background process, with a warning', async () => {
    const repo = `--repo1-path=${await aRepository()}`
    const spool = ['--archive-async', `--spool-path=${makeTestDir('spool')}`]
    await without(async () => {
      const result = await pgts([repo, ...spool, 'archive-push', walPath(waiting)])
      const warning = /WARN: .* pushed without the spool: pgts is not completely installed: koffi cannot/
      expect(result).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(warning) as string })
    })
    const target = join(makeTestDir('back'), 'x')
    expect((await pgts([repo, 'archive-get', waiting, target])).code).toBe(0)
    expect(readFileSync(target).equals(readFileSync(walPath(waiting)))).toBe(true)
  })
})

describe('an installation without the WebAssembly module', () => {
  test.each([
    ['missing', 'archive-push'],
    ['empty', 'archive-push'],
    ['missing', 'backup'],
    ['empty', 'backup'],
  ] as const)('(%s) %s names it', async (how, command) => {
    const options = [`--repo1-path=${await aRepository()}`, '--compress-type=lz4']
    const args =
      command === 'backup' ? ['--type=full', '--no-archive-check', 'backup'] : ['archive-push', walPath(archived)]
    await installation.without(KERNELS, how, async () =>
      expectIncomplete(await pgts([...options, ...args]), 'kernels.wasm cannot be loaded'),
    )
  })
})

describe('an installation without a file of dist', () => {
  test.each(['main.cjs', 'program.packed', 'worker.cjs'])('verify names %s', async (name) => {
    for (const how of ['missing', 'empty'] as const) {
      const result = await installation.without(`dist/cli/${name}`, how, () => pgts(['verify']))
      expectIncomplete(result, name, name === 'main.cjs' ? 125 : 102)
    }
  })

  test.each(['main.cjs', 'program.packed'])(
    'archive-get does not report the end of the archive to a server in recovery without %s',
    async (name) => {
      const cwd = makeTestDir('recovering')
      writeFileSync(join(cwd, 'recovery.signal'), '')
      for (const how of ['missing', 'empty'] as const) {
        const result = await installation.without(`dist/cli/${name}`, how, () =>
          pgts(['archive-get', archived, join(cwd, 'x')], { cwd }),
        )
        expect(result.code).toBe(201)
        expect(result.stderr).toContain('recovery stops here')
      }
    },
  )

  test.each([
    [
      's3',
      ['--repo1-s3-bucket=b', '--repo1-s3-endpoint=localhost', '--repo1-s3-region=r', '--repo1-s3-uri-style=path'],
    ],
    ['azure', ['--repo1-azure-container=c']],
    ['gcs', ['--repo1-gcs-bucket=b', '--repo1-gcs-key-type=auto']],
  ] as const)('the client of %s needs no package', async (type, options) => {
    const config = join(makeTestDir('store'), 'pgts.yaml')
    writeFileSync(config, 'global: { repo: [{}] }\n')
    giveToTestUser(config)
    const secrets = {
      PGTS_REPO1_S3_KEY: 'k',
      PGTS_REPO1_S3_KEY_SECRET: 's',
      PGTS_REPO1_AZURE_ACCOUNT: 'a',
      PGTS_REPO1_AZURE_KEY: 'a2V5',
    }
    const where = type === 'gcs' ? [] : [`--repo1-storage-host=127.0.0.1`, '--repo1-storage-port=1']
    const args = [`--config=${config}`, `--repo1-type=${type}`, ...options, ...where, '--io-timeout=1', 'info']
    const reached = await installation.run(args, { env: secrets })
    expect(reached.stdout + reached.stderr).not.toContain('installed')
    expect(reached.stdout + reached.stderr).toMatch(/connection refused|metadata/)
  })
})

test('with a low limit of open files verify reports the limit or succeeds', async () => {
  const ends: (number | null)[] = []
  for (const limit of [21, 24, 28, 32, 36, 40, 55, 70]) {
    const script = `ulimit -n ${limit}; exec "$@"`
    const program = join(installation.dir, 'bin/pgts')
    const args = [`--config=${site.config}`, '--stanza=main', '--process-max=4', 'verify']
    const result = await runAs(testUser, 'sh', ['-c', script, 'sh', program, ...args])
    ends.push(result.code)
    if (result.code === 0) continue
    expect(result.stdout + result.stderr).toMatch(
      /ERROR: \[(102\]: cannot load .*: |041\]: cannot open .*: this process has |053\]: cannot list .*: this process has )too many open files/,
    )
    expect(result.stdout + result.stderr).toMatch(/HINT: .*ulimit -n/)
    expect(result.stdout + result.stderr).not.toMatch(/installed|not intact|\n\s+at /)
    expect([41, 53, 102]).toContain(result.code)
    expect(result.stdout + result.stderr).not.toContain('PgtsError')
  }
  expect(ends[0]).not.toBe(0)
  expect(ends.at(-1)).toBe(0)
})

describe('Node', () => {
  const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'
  const beside = () => join(installation.dir, 'bin/node')
  const withoutNode = makeTestDir('path')
  for (const name of ['sh', 'readlink', 'mv']) symlinkSync(join('/bin', name), join(withoutNode, name))

  test('is the one beside the launcher, if the PATH has none', async () => {
    expect((await installation.run(['version'], { env: { PATH: withoutNode } })).code).not.toBe(0)
    cpSync(reachableNode(), beside())
    chmodSync(beside(), 0o755)
    try {
      const link = join(makeTestDir('link'), 'pgts')
      symlinkSync(join(installation.dir, 'bin/pgts'), link)
      const { code, stdout } = await runAs(testUser, link, ['version'], { env: { PATH: withoutNode } })
      expect([code, stdout]).toEqual([0, expect.stringMatching(/^pgts [0-9]/)])
    } finally {
      rmSync(beside())
    }
  })

  test('is the one of PGTS_NODE before the one beside the launcher, and that before the PATH', async () => {
    const named = join(makeTestDir('named'), 'node')
    for (const [path, code] of [
      [beside(), 41],
      [named, 42],
    ] as const) {
      writeFileSync(path, `#!/bin/sh\nexit ${code}\n`)
      chmodSync(path, 0o755)
    }
    giveToTestUser(named)
    try {
      expect((await installation.run(['version'], { env: { PATH } })).code).toBe(41)
      expect((await installation.run(['version'], { env: { PATH, PGTS_NODE: named } })).code).toBe(42)
    } finally {
      rmSync(beside())
    }
  })
})
