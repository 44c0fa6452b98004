import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { lockVerb } from '../../../src/core/serve/lock-verbs.ts'
import { connect } from '../../../src/remote/connect.ts'
import type { Channel } from '../../../src/remote/channel.ts'
import type { Connection } from '../../../src/remote/connection.ts'
import { encodeFrame, FRAME } from '../../../src/remote/frame.ts'
import { callingLine } from '../../../src/remote/greeting.ts'
import { openVerb } from '../../../src/remote/open.ts'
import { encodeValue } from '../../../src/remote/value.ts'
import { createVerb, statVerb } from '../../../src/storage/remote/verbs.ts'
import { signal } from '../../support/processes/processes.ts'
import { cleanEnv, giveToTestUser, makeTestDir, pgtsProgram, testUser } from '../../support/processes/test-user.ts'
import { asBytes } from '../../../src/util/byte-string.ts'

const ARGS = '--exec-id=1-ab --log-level-console=off --log-level-file=off --log-level-stderr=error --process=0'
const EXEC_ID = '1-ab'

/** The program that sshd starts at a repository host, with this test as its client. */
describe('pgts backup:remote', () => {
  let dir: string
  beforeAll(() => {
    dir = makeTestDir('serving')
    for (const name of ['repo', 'lock']) mkdirSync(join(dir, name))
    writeFileSync(
      join(dir, 'pgts.conf'),
      `[global]\nrepo1-path=${dir}/repo\nlock-path=${dir}/lock\nlog-path=${dir}\n[main]\npg1-path=/nowhere\n`,
    )
    giveToTestUser(dir)
  })

  function start(): ChildProcessWithoutNullStreams {
    const args = [`--config=${dir}/pgts.conf`, ...ARGS.split(' '), '--remote-type=repo', '--repo=1', '--stanza=main']
    const child = spawn(pgtsProgram(), [...args, 'backup:remote'], {
      cwd: '/',
      env: cleanEnv(),
      ...(testUser.switched ? { uid: testUser.uid, gid: testUser.gid } : {}),
    })
    for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on('error', () => undefined)
    return child
  }

  const exitOf = (child: ChildProcessWithoutNullStreams) =>
    new Promise<number | null>((resolve) => child.once('exit', resolve))

  async function connected(child: ChildProcessWithoutNullStreams): Promise<Connection> {
    const channel: Channel = {
      input: child.stdout,
      output: child.stdin,
      display: 'the program',
      explainEnd: async () => undefined,
      destroy: () => void child.kill('SIGKILL'),
      closed: new Promise((resolve) => child.once('close', () => resolve())),
    }
    const limits = { ioTimeoutMs: 60_000, protocolTimeoutMs: 60_000 }
    return connect(channel, { ...limits, host: 'here', hostCommandOption: 'repo1-host-cmd' })
  }

  const opened = async (child: ChildProcessWithoutNullStreams): Promise<Connection> => {
    const connection = await connected(child)
    await connection.call(openVerb, {
      kind: 'repo',
      command: 'backup',
      stanza: 'main',
      key: 1,
      process: 0,
      execId: EXEC_ID,
      ioTimeoutMs: 60_000,
      protocolTimeoutMs: 60_000,
    })
    return connection
  }

  /** A new process can take the lock, so none of those before has it. */
  async function expectNoLock(): Promise<void> {
    const connection = await opened(start())
    await connection.call(lockVerb, { types: ['backup'], repoKeys: [1], stops: true })
    await connection[Symbol.asyncDispose]()
  }

  test('ends when its input ends before, during and after the greeting', async () => {
    for (const sent of ['', '{"name":"pg', callingLine(1)]) {
      const child = start()
      const exit = exitOf(child)
      child.stdin.end(sent)
      child.stdout.resume()
      expect(await exit).not.toBeNull()
    }
  })

  test('ends at bytes that are no frame, and at a first request that is not `open`', async () => {
    for (const bytes of [
      Buffer.from('GET / HTTP/1.1\r\n\r\n'),
      encodeFrame({ type: FRAME.request, stream: 1 }, encodeValue(['stat', new Map([[1, Buffer.from('archive')]])])),
    ]) {
      const child = start()
      const exit = exitOf(child)
      child.stdout.resume()
      child.stdin.write(callingLine(1))
      child.stdin.write(bytes)
      expect(await exit).not.toBeNull()
    }
  })

  test('releases its lock and discards its file when its client is gone', async () => {
    const child = start()
    const exit = exitOf(child)
    const connection = await opened(child)
    await connection.call(lockVerb, { types: ['backup'], repoKeys: [1], stops: true })
    const upload = connection.upload(createVerb, { name: asBytes('backup/main/file'), unreferenced: false })
    await upload.sink.write(new Uint8Array(1024 * 1024))
    await connection.ping()
    child.stdin.destroy()
    child.stdout.destroy()
    await exit
    await expectNoLock()
    const next = await opened(start())
    expect(await next.call(statVerb, { name: asBytes('backup/main/file') })).toEqual({ entry: null })
    await next[Symbol.asyncDispose]()
  })

  test.each([
    ['../outside', '../outside'],
    ['/etc/passwd', '/etc/passwd'],
    ['archive/../../x', 'archive/../../x'],
    ['a//b', 'a//b'],
    ['that is too long', 'x'.repeat(4097)],
  ])('refuses the name %s', async (_, name) => {
    const connection = await opened(start())
    await expect(connection.call(statVerb, { name: asBytes(name) })).rejects.toMatchObject({
      message: expect.stringMatching(/^raised from the program: /),
    })
    await connection[Symbol.asyncDispose]()
  })

  test('continues after it was stopped for a while', async () => {
    const child = start()
    const connection = await opened(child)
    signal(child.pid!, 'SIGSTOP')
    const stat = connection.call(statVerb, { name: asBytes('archive') })
    signal(child.pid!, 'SIGCONT')
    expect(await stat).toEqual({ entry: null })
    await connection[Symbol.asyncDispose]()
  })
})
