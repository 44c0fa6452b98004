import { chmodSync, chownSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { CleanRoot, execute } from '../support/processes/clean-root.ts'
import { Container, contained } from '../support/processes/container.ts'
import { makeTestDir, pgtsProgram, projectRoot, serverBinaries } from '../support/postgres/postgres.ts'
import { yamlDocuments } from '../support/run/doc-blocks.ts'
import { aSite, type Site } from '../support/sites/site.ts'
import { until } from '../support/until.ts'
import { unarchivedSegment } from '../support/sites/replica.ts'

// pgts as a container runtime runs it, without a container engine: process 1, read-only root file system, unprivileged user,
// no capability. PGTS_TEST_PACKAGES=all runs the commands of the Dockerfile in a Debian made by debootstrap, and then the image.
const all = process.env['PGTS_TEST_PACKAGES'] === 'all'

describe('pgts in a container', () => {
  let site: Site
  let volumes: Record<string, string>
  const argv = (...args: string[]) => [pgtsProgram(), `--config=${site.config}`, '--stanza=main', ...args]

  beforeAll(async () => {
    site = await aSite({ walSegsizeMb: 1, options: { 'log-level-file': 'off' } })
    await site.pgtsOk('stanza-create')
    const { dataDir, socketDir } = site.cluster
    volumes = Object.fromEntries([site.dir, dataDir, socketDir].map((dir) => [dir, dir]))
  })
  afterAll(() => site?.[Symbol.asyncDispose]())

  test('needs no writable file system but its volumes', async () => {
    const refused = await contained(['touch', join(makeTestDir('outside'), 'file')], { volumes })
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('Read-only file system') as string })
    const target = join(site.dir, 'restored')
    for (const args of [
      ['--type=full', 'backup'],
      ['check'],
      ['verify'],
      ['--log-level-console=off', '--output=json', 'info'],
      [`--pg1-path=${target}`, '--archive-mode=off', '--log-level-console=error', 'restore'],
    ])
      expect(await contained(argv(...args), { volumes }), args.join(' ')).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(join(target, 'PG_VERSION'), 'utf8')).toBe('15\n')
  }, 60_000)

  test('ends in order at SIGTERM as process 1, and the next backup succeeds', async () => {
    // The backup waits for its first segment.
    await unarchivedSegment(site.cluster)
    await using backup = new Container(argv('--log-level-console=info', '--archive-timeout=600', 'backup'), { volumes })
    await until('backup mode', () => backup.output.stdout.includes('backup start archive'))
    backup.signal('SIGTERM')
    expect((await backup.ended).code).toBe(63)
    await site.cluster.query('alter system reset archive_command')
    await site.cluster.query('select pg_reload_conf()')
    expect(await contained(argv('backup'), { volumes })).toMatchObject({ code: 0 })
  }, 60_000)
})

if (all) describe('the image', ofTheImage)

interface Instruction {
  readonly name: string
  readonly text: string
}

/** Instructions of the last stage of the Dockerfile. */
function lastStage(): Instruction[] {
  const lines = readFileSync(join(projectRoot, 'Dockerfile'), 'utf8')
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll('\\\n', ' ')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => ({ name: line.split(' ', 1)[0]!, text: line.slice(line.indexOf(' ') + 1).trim() }))
  return lines.slice(lines.findLastIndex(({ name }) => name === 'FROM'))
}

function ofTheImage(): void {
  const stage = lastStage()
  const textOf = (name: string) => stage.find((instruction) => instruction.name === name)!.text
  const [uid = 0, gid = 0] = textOf('USER').split(':').map(Number)
  const user = { uid, gid }
  const entrypoint = JSON.parse(textOf('ENTRYPOINT')) as string[]
  let clean: CleanRoot
  /** Of the pod: path in the container, and directory of this machine. */
  const volumes: Record<string, string> = {}
  const inRoot = () => ({ root: clean.path, user, volumes })
  const pgts = (...args: string[]) => contained([...entrypoint, '--stanza=main', ...args], inRoot())

  /** A volume as Kubernetes makes it with fsGroup: of root, writable for the group. */
  function addVolume(path: string): string {
    const directory = makeTestDir('volume')
    chownSync(directory, 0, gid)
    chmodSync(directory, 0o2770)
    mkdirSync(join(clean.path, path), { recursive: true })
    return (volumes[path] = directory)
  }

  beforeAll(async () => {
    const packages = makeTestDir('packages')
    execute('node', 'scripts/run.mjs', 'scripts/package.ts', '--only=deb', `--out=${packages}`)
    clean = new CleanRoot()
    cpSync(packages, join(clean.path, 'packages'), { recursive: true })
    for (const { name, text } of stage)
      if (name === 'RUN') await clean.run(text.replaceAll(/--mount=\S+/g, ''))
      else expect(['FROM', 'LABEL', 'USER', 'ENTRYPOINT', 'CMD']).toContain(name)
    cpSync(join(serverBinaries(17), '..'), join(clean.path, 'opt/postgresql'), { recursive: true, dereference: true })
    // /var/run is an absolute link, which would lead out of the root.
    for (const path of ['/var/lib/postgresql/data', '/run/postgresql', '/run/pgts', '/tmp', '/pgts']) addVolume(path)
    writeConfiguration(addVolume('/etc/pgts'))
  }, 900_000)
  afterAll(() => clean?.[Symbol.dispose]())

  /** The configuration of the guide, with a repository on a volume. */
  function writeConfiguration(directory: string): void {
    const [map] = yamlDocuments('docs/guide/kubernetes.md', 'A database with a sidecar') as {
      data: Record<string, string>
    }[]
    const config = parse(map!.data['pgts.yaml']!) as { global: { repo: unknown } }
    config.global.repo = [{ path: '/pgts', 'retention-full': 2 }]
    writeFileSync(join(directory, 'pgts.yaml'), stringify(config), { mode: 0o640 })
    chownSync(join(directory, 'pgts.yaml'), 0, gid)
  }

  test('prints help by default, and has both names', async () => {
    const command = JSON.parse(textOf('CMD')) as string[]
    expect(await contained([...entrypoint, ...command], inRoot())).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Usage: pgts COMMAND') as string,
    })
    expect((await contained(['pgbackrest', 'version'], inRoot())).stdout).toMatch(/^pgBackRest 2/)
  })

  test('archives, backs up, verifies and restores with a read-only root', async () => {
    const data = '/var/lib/postgresql/data/pgdata'
    const bin = '/opt/postgresql/bin'
    const initdb = [`${bin}/initdb`, '-D', data, '-U', 'postgres', '--no-sync', '--auth=trust']
    expect(await contained(initdb, inRoot())).toMatchObject({ code: 0 })
    const settings = ['archive_mode=on', 'archive_command=pgts --stanza=main archive-push %p', 'listen_addresses=']
    const socket = 'unix_socket_directories=/var/run/postgresql'
    const options = [...settings, socket].flatMap((setting) => ['-c', setting])
    await using server = new Container([`${bin}/postgres`, '-D', data, ...options], inRoot())
    await until('the server', () => server.output.stderr.includes('ready to accept connections'), {
      details: () => server.output.stderr,
    })
    for (const args of [['stanza-create'], ['check'], ['--type=full', 'backup'], ['verify'], ['--output=json', 'info']])
      expect(await pgts(...args), args.join(' ')).toMatchObject({ code: 0 })
    server.signal('SIGINT')
    expect((await server.ended).code).toBe(0)
    const restore = ['--delta', '--archive-mode=preserve', 'restore']
    expect(await pgts(...restore)).toMatchObject({ code: 0 })
    expect(readdirSync(join(volumes['/var/lib/postgresql/data']!, 'pgdata'))).toContain('recovery.signal')
  }, 120_000)

  test.each(['below tini', 'as process 1'])('ends at SIGTERM %s', async (how) => {
    const program = how === 'as process 1' ? ['/usr/bin/pgts'] : entrypoint
    await using metrics = new Container([...program, '--stanza=main', 'metrics', '--listen=9854'], inRoot())
    await until('the endpoint', async () => {
      const answer = await fetch('http://127.0.0.1:9854/metrics').catch(() => undefined)
      return answer?.ok === true
    })
    metrics.signal('SIGTERM')
    expect((await metrics.ended).code).toBe(0)
  })
}
