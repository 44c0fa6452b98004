import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { connect } from '../../../src/remote/connect.ts'
import type { Connection } from '../../../src/remote/connection.ts'
import { openSsh, type SshTarget } from '../../../src/remote/ssh.ts'
import { readAll } from '../../../src/util/bytes.ts'
import { canSwitchUsers, Hosts } from '../../support/hosts/hosts.ts'
import { argumentsOf, descendantsOf, isGone, signal } from '../../support/processes/processes.ts'
import { PGBACKREST } from '../../support/processes/programs.ts'
import { servingProgram } from '../../support/remote/serving-program.ts'
import { hash, mark, whoami, zeros } from '../../support/remote/test-verbs.ts'
import { until } from '../../support/until.ts'

const MIB = 1024 * 1024

describe.runIf(canSwitchUsers)('a connection by ssh', () => {
  let hosts: Hosts
  beforeAll(async () => {
    hosts = await Hosts.start({ network: {} })
  })
  afterAll(() => hosts[Symbol.asyncDispose]())

  const target = (options: Partial<SshTarget> = {}): SshTarget => ({
    program: join(hosts.postgres.dir, 'bin/ssh'),
    host: 'repo-host',
    user: hosts.repository.user.name,
    command: `node ${servingProgram()}`,
    args: [],
    process: 0,
    ...options,
  })
  const open = (
    options: Partial<SshTarget> = {},
    limits: { readonly ioTimeoutMs?: number; readonly protocolTimeoutMs?: number } = {},
  ): Promise<Connection> =>
    connect(openSsh(target(options)), {
      ioTimeoutMs: 60_000,
      protocolTimeoutMs: 60_000,
      ...limits,
      host: options.host ?? 'repo-host',
      hostCommandOption: 'repo1-host-cmd',
    })

  test('runs the program as the user of the other host, and moves bytes in both directions', async () => {
    await using connection = await open()
    expect((await connection.call(whoami, {})).uid).toBe(hosts.repository.user.uid)
    const bytes = randomBytes(3 * MIB)
    await using upload = connection.upload(hash, {})
    await upload.sink.write(bytes)
    expect(await upload.finish({})).toEqual({ sha1: createHash('sha1').update(bytes).digest('hex') })
    expect((await readAll(await connection.download(zeros, { size: 5 * MIB }))).length).toBe(5 * MIB)
  })

  test('ends the program at the other end, after its handlers, when the connection is closed or ssh dies', async () => {
    const connection = await open()
    const { pid } = await connection.call(whoami, {})
    await connection[Symbol.asyncDispose]()
    await until('the end of the program', () => isGone(pid))
    const path = join(hosts.repository.dir, 'repo/mark')
    const second = await open()
    const { pid: secondPid } = await second.call(whoami, {})
    const marking = second.call(mark, { path })
    await second.ping()
    const ssh = descendantsOf(process.pid).filter(({ args }) => args[0] === '/usr/bin/ssh')
    expect(ssh.length).toBe(1)
    signal(ssh[0]!.pid, 'SIGKILL')
    await expect(marking).rejects.toMatchObject({
      code: 'host-connect',
      message: "remote-0 ssh protocol on 'repo-host' terminated unexpectedly [SIGKILL]",
    })
    await until('the end of the program', () => isGone(secondPid))
    expect(readFileSync(path, 'utf8')).toBe(String(secondPid))
  })

  test('runs ssh in a session of its own, so that ^C does not end it', async () => {
    await using connection = await open()
    await connection.ping()
    const ssh = descendantsOf(process.pid).find(({ args }) => args[0] === '/usr/bin/ssh')!
    const session = Number(readFileSync(`/proc/${ssh.pid}/stat`, 'latin1').split(') ')[1]!.split(' ')[3])
    expect(session).toBe(ssh.pid)
    expect(argumentsOf(ssh.pid).slice(3, 9)).toEqual([
      '-o',
      'LogLevel=error',
      '-o',
      'Compression=no',
      '-o',
      'PasswordAuthentication=no',
    ])
  })

  test('quotes arguments for the shell of the other host', async () => {
    const args = ['--pg1-path=/a b', "--x=it's", '--y=$HOME `id` "q" \\ *', '--z=\u00e9\n']
    const printing = `node -e 'process.stderr.write(JSON.stringify(process.argv.slice(1)))' --`
    await expect(open({ command: printing, args })).rejects.toThrow(JSON.stringify(args))
  })

  test.each([
    [
      'a key that is refused',
      { user: 'daemon' },
      /^remote-0 ssh protocol on 'repo-host' terminated unexpectedly \[255\]: .*Permission denied \([a-z,-]+\)\.$/,
    ],
    ['a program that does not exist', { command: '/nowhere/pgts' }, /terminated unexpectedly \[127\]: .*not found/s],
    ['no ssh', { program: '/nowhere/ssh' }, /terminated unexpectedly: cannot run \/nowhere\/ssh: .*ENOENT/],
    [
      'a long error output',
      { command: `node -e 'console.error("x".repeat(9000)); process.exit(3)'` },
      /terminated unexpectedly \[3\]: x{4000,4096}$/,
    ],
  ])('reports exit code and error output for %s', async (_, options, message) => {
    await expect(open(options)).rejects.toMatchObject({
      code: 'host-connect',
      message: expect.stringMatching(message),
      hints: [expect.stringMatching(/^run this by hand, .*ssh .*@repo-host .* version$/)],
    })
  })

  test.each([{ host: '-oProxyCommand=true' }, { user: '-l' }, { host: '' }])(
    'refuses %j before ssh is started',
    (options) => {
      expect(() => openSsh(target(options))).toThrow(expect.objectContaining({ code: 'option-invalid-value' }))
    },
  )

  test('names pgbackrest at the other end, and output of the start files of a shell', async () => {
    const args = ['--stanza=main', '--repo1-path=/tmp', '--process=0', '--remote-type=repo', 'info:remote']
    await expect(open({ command: PGBACKREST, args })).rejects.toMatchObject({
      code: 'protocol',
      message: expect.stringMatching(/^the program on 'repo-host' is pgBackRest [0-9.]+(dev)?, not pgts$/),
    })
    await expect(open({ command: `echo Welcome; node ${servingProgram()}` })).rejects.toMatchObject({
      code: 'protocol',
      message: "the program on 'repo-host' is not pgts: it sent 'Welcome'",
      hints: expect.arrayContaining([expect.stringContaining('.bashrc')]),
    })
  })

  test('uses the highest protocol of both builds, and reports the ranges if there is none', async () => {
    const withRange = (range: string) => ({ command: `node ${servingProgram()} ${range}` })
    await using connection = await open(withRange('1 7'))
    expect(connection.protocol).toBe(1)
    await connection.call(whoami, {})
    await expect(open(withRange('2 7'))).rejects.toMatchObject({
      code: 'protocol',
      message: expect.stringContaining("on 'repo-host' has the protocols 2 to 7, pgts 0.0.0-source here has 1"),
      hints: ['upgrade pgts on this host'],
    })
  })

  test('ends after protocol-timeout when the other end is stopped, and not while it only works', async () => {
    await using connection = await open({}, { protocolTimeoutMs: 2000 })
    const { pid } = await connection.call(whoami, {})
    const downloading = await connection.download(zeros, { size: 1024 * MIB })
    await downloading.next()
    signal(pid, 'SIGSTOP')
    try {
      await expect(readAll(downloading)).rejects.toMatchObject({
        code: 'host-connect',
        message: expect.stringContaining('has sent nothing for'),
      })
    } finally {
      signal(pid, 'SIGKILL')
    }
  })

  test('is an error when sshd is killed, and the next connection works', async () => {
    await using connection = await open()
    const { pid } = await connection.call(whoami, {})
    const marking = connection.call(mark, { path: '/dev/null' })
    await hosts.sshd[Symbol.asyncDispose]()
    await expect(marking).rejects.toMatchObject({ code: 'host-connect' })
    await until('the end of the program', () => isGone(pid))
    await hosts.sshd.start()
    await using again = await open()
    await again.ping()
  })

  test('rejects, and ends at both ends, wherever the network cuts it', async () => {
    const cuts = process.env['PGTS_TEST_CUTS'] === 'all' ? 60 : 6
    for (const direction of ['up', 'down'] as const) {
      for (let i = 0; i < cuts; i++) {
        const everyBytes = Math.round(1500 + (i * i * 400_000) / (cuts * cuts))
        hosts.network!.set({ strike: { direction, everyBytes, how: i % 2 === 0 ? 'reset' : 'close', times: 1 } })
        await expect(exercise(open)).rejects.toMatchObject({ code: 'host-connect' })
        expect(hosts.network!.counters.struck).toBe(1)
      }
    }
    hosts.network!.set({})
    await exercise(open)
    await until('the end of all programs', () => descendantsOf(hosts.sshd.pid).every(({ args }) => args[0] !== 'node'))
  })
})

/** Half a MiB in each direction. */
async function exercise(open: () => Promise<Connection>): Promise<void> {
  await using connection = await open()
  await using upload = connection.upload(hash, {})
  await upload.sink.write(randomBytes(MIB / 2))
  await upload.finish({})
  await readAll(await connection.download(zeros, { size: MIB / 2 }))
}
