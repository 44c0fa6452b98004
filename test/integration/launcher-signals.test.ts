import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SHELLS } from '../support/processes/launch-site.ts'
import {
  type Cluster,
  cleanEnv,
  giveToTestUser,
  isInstalled,
  makeTestDir,
  pgtsProgram,
} from '../support/postgres/postgres.ts'
import { reachableNode, startCluster, testUser } from '../support/postgres/postgres.ts'
import { childrenOf, isGone, signal } from '../support/processes/processes.ts'
import { until } from '../support/until.ts'

const shells = SHELLS.filter(([name, [program = '']]) => isInstalled(program) && !name.includes(' -'))
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const
const SEGMENT = '000000010000000000000001'

/** A call that waits for its repository, which never answers. */
class Call {
  stdout = ''
  stderr = ''
  readonly ended: Promise<number | NodeJS.Signals | null>
  constructor(
    readonly child: ChildProcess,
    readonly launcher: number,
  ) {
    child.stdout!.on('data', (text: Buffer) => (this.stdout += text.toString()))
    child.stderr!.on('data', (text: Buffer) => (this.stderr += text.toString()))
    this.ended = new Promise((resolve) => child.once('close', (code, name) => resolve(code ?? name)))
  }
  get node(): number {
    return childrenOf(this.launcher)[0]!
  }
  async [Symbol.asyncDispose](): Promise<void> {
    signal(-this.launcher, 'SIGKILL')
    await this.ended
  }
}

let dir: string
let server: Server
let connections = 0
let cluster: Cluster
let config: string

beforeAll(async () => {
  dir = makeTestDir('signals')
  cluster = await startCluster({ version: 15, start: false })
  server = createServer((socket) => {
    connections++
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  config = join(dir, 'pgbackrest.conf')
  writeFileSync(
    config,
    `[global]\nrepo1-type=s3\nrepo1-path=/r\nrepo1-s3-bucket=b\nrepo1-s3-endpoint=127.0.0.1\nrepo1-storage-port=${port}\n` +
      `repo1-storage-verify-tls=n\nrepo1-s3-uri-style=path\nrepo1-s3-region=x\nrepo1-s3-key=k\nrepo1-s3-key-secret=s\n` +
      `lock-path=${dir}/lock\nlog-path=${dir}/log\nspool-path=${dir}/spool\n[main]\npg1-path=${cluster.dataDir}\n`,
  )
  giveToTestUser(dir)
})
afterAll(async () => {
  server.close()
  await cluster[Symbol.asyncDispose]()
})

interface CallOptions {
  readonly ignoring?: string
  readonly node?: string
}

/** Start a command in a shell, as the leader of a process group, and wait until it waits for its repository. */
async function waiting(shell: readonly string[], words: readonly string[], options: CallOptions = {}): Promise<Call> {
  const before = connections
  const command = [...shell, pgtsProgram(), `--config=${config}`, '--stanza=main', ...words]
  const script = `trap "" ${options.ignoring ?? ''}; exec "$@"`
  const args = options.ignoring === undefined ? command : ['sh', '-c', script, 'sh', ...command]
  const child = spawn(args[0]!, args.slice(1), {
    cwd: cluster.dataDir,
    env: cleanEnv(testUser, { PGTS_NODE: options.node }),
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
  })
  const call = new Call(child, child.pid!)
  await until('a connection to the repository', () => connections > before, { details: () => call.stderr })
  return call
}

const PUSH = ['archive-push', `pg_wal/${SEGMENT}`]
const GET = ['archive-get', SEGMENT, 'pg_wal/RECOVERYXLOG']

describe.each(shells)('%s', (_, shell) => {
  test.each(SIGNALS)('forwards %s, and the command ends regularly', async (name) => {
    await using call = await waiting(shell, PUSH)
    const { node } = call
    signal(call.launcher, name)
    expect(await call.ended).toBe(63)
    expect(call.stdout).toContain(`terminated on signal ${name}`)
    expect(isGone(node)).toBe(true)
  })

  test('handles a signal to the whole process group once', async () => {
    await using call = await waiting(shell, GET)
    signal(-call.launcher, 'SIGTERM')
    expect(await call.ended).toBe(63)
    expect(call.stdout).toContain('terminated on signal SIGTERM')
  })

  test('ignores signals that its caller ignores, and ends Node when it is killed', async () => {
    await using call = await waiting(shell, PUSH, { ignoring: 'HUP INT QUIT TERM' })
    const { node } = call
    for (const name of SIGNALS) {
      signal(call.launcher, name)
      signal(node, name)
    }
    // Node has processed the signals when it reacts to one that it does not ignore.
    expect(readFileSync(`/proc/${call.launcher}/status`, 'latin1')).toMatch(/^SigIgn:\s*[0-9a-f]+7$/m)
    signal(call.launcher, 'SIGKILL')
    await until('the end of Node', () => isGone(node))
    // All of its output has arrived.
    await call.ended
    expect(call.stdout).toContain('terminated because the process that waits for the result was killed')
    expect(call.stdout).not.toContain('terminated on signal')
  })

  test('passes a signal to a command that replaced it by exec, unless its caller ignores the signal', async () => {
    await using ending = await waiting(shell, ['info'])
    signal(ending.launcher, 'SIGHUP')
    expect(await ending.ended).toBe(63)
    await using ignoring = await waiting(shell, ['info'], { ignoring: 'HUP' })
    signal(ignoring.launcher, 'SIGHUP')
    signal(ignoring.launcher, 'SIGTERM')
    expect(await ignoring.ended).toBe(63)
    expect(ignoring.stdout).toContain('terminated on signal SIGTERM')
  })
})

test('Node ends with its launcher also when another program starts the launcher', async () => {
  const node = join(dir, 'node')
  writeFileSync(node, `#!/bin/sh\n'${reachableNode()}' "$@"\ncode=$?\nexit $code\n`, { mode: 0o755 })
  giveToTestUser(node)
  await using call = await waiting(['dash'], PUSH, { node })
  const [real = 0] = childrenOf(call.node)
  expect(isGone(real)).toBe(false)
  signal(call.launcher, 'SIGKILL')
  await until('the end of Node', () => isGone(real))
})
