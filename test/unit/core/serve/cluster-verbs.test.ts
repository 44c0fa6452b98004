import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { duplexPair } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { clusterService } from '../../../../src/core/serve/cluster-verbs.ts'
import type { ServerConnection } from '../../../../src/postgres/client.ts'
import type { ClusterAccess, ClusterEntry, ClusterFiles } from '../../../../src/postgres/cluster-access.ts'
import { localFiles } from '../../../../src/postgres/local-files.ts'
import { RemoteFiles } from '../../../../src/postgres/remote/files.ts'
import { RemoteServer } from '../../../../src/postgres/remote/server.ts'
import { accept, connect } from '../../../../src/remote/connect.ts'
import { socketChannel } from '../../../../src/remote/channel.ts'
import type { Connection } from '../../../../src/remote/connection.ts'
import { asBytes, bytes } from '../../../../src/util/byte-string.ts'
import { PgtsError } from '../../../../src/util/error.ts'

let dir: string
let open: AsyncDisposable[]

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-served-cluster-'))
  open = []
})
afterEach(async () => {
  for (const one of open.reverse()) await one[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true })
})

const LIMITS = { ioTimeoutMs: 10_000, protocolTimeoutMs: 30_000 }
const never = new AbortController().signal

/** Both ends in this process: the served cluster, and the connection of the other host. */
async function served(cluster: Partial<ClusterAccess>): Promise<Connection> {
  const [near, far] = duplexPair()
  const service = clusterService({ pgPath: asBytes(dir), files: localFiles(), ...cluster } as ClusterAccess)
  const [connection, other] = await Promise.all([
    connect(socketChannel(near, 'db'), { ...LIMITS, host: 'db', hostCommandOption: 'pg1-host-cmd' }),
    accept(socketChannel(far, 'repo'), { ...LIMITS, handlers: service.handlers }),
  ])
  void other.ended.then(() => service[Symbol.asyncDispose]())
  open.push(other, connection)
  return connection
}

function path(...names: string[]) {
  return asBytes(join(dir, ...names))
}

test('a directory of another host is listed as here', async () => {
  writeFileSync(join(dir, 'f'), 'abc')
  utimesSync(join(dir, 'f'), -1, -1)
  mkdirSync(join(dir, 'd'))
  symlinkSync('f', join(dir, 'l'))
  execFileSync('mkfifo', [join(dir, 'p')])
  writeFileSync(Buffer.from(join(dir, 'n\xfc\xff'), 'latin1'), '')
  const here = localFiles()
  const there = new RemoteFiles(await served({}), 'db', never)
  const listed = (await there.list(path()))!
  expect([...listed]).toEqual([...(await here.list(path()))!])
  expect([...listed].map(({ name }) => name)).toEqual(['d', 'f', 'l', 'n\xfc\xff', 'p'])
  expect([...listed][2]).toMatchObject({ kind: 'link', destination: 'f', destinationKind: 'file' })
  for (const follow of [true, false])
    expect(await there.stat(path('l'), { follow })).toEqual(await here.stat(path('l'), { follow }))
  expect(await there.stat(path())).toMatchObject({ kind: 'path' })
  expect(await there.stat(path('nothing'))).toBeUndefined()
  expect(await there.list(path('nothing'))).toBeUndefined()
})

test('a name that was removed while its directory was listed is still a name', async () => {
  const directory = { names: [asBytes('5'), asBytes('5_init')], [Symbol.iterator]: () => [entry('5')].values() }
  const files = { list: async () => directory } as unknown as ClusterFiles
  const listed = await new RemoteFiles(await served({ files }), 'db', never).list(path())
  expect(listed!.names.toSorted()).toEqual(['5', '5_init'])
  expect([...listed!].map(({ name }) => name)).toEqual(['5'])
})

function entry(name: string): ClusterEntry {
  return { name: asBytes(name), kind: 'file', sizeBytes: 0, mtime: 0, mode: 0o600, user: false, group: false }
}

test.each(['', '.', '..', 'a/b', '../../etc/passwd', 'a\0'])('refuses the name %j from another host', async (name) => {
  const directory = { names: [asBytes(name)], [Symbol.iterator]: () => [entry(name)].values() }
  const files = { list: async () => directory } as unknown as ClusterFiles
  const listing = new RemoteFiles(await served({ files }), 'db', never).list(path())
  await expect(listing).rejects.toMatchObject({ code: 'protocol' })
})

test('a file of another host is read in whole buffers', async () => {
  const content = Buffer.from(Array.from({ length: 700_001 }, (_, at) => (at * 7) % 251))
  writeFileSync(join(dir, 'f'), content)
  const files = new RemoteFiles(await served({}), 'db', never)
  const buffer = Buffer.alloc(300_000)
  await using source = (await files.open(path('f'), { buffer, maxBytes: 650_000 }))!
  const chunks: Buffer[] = []
  for (let chunk = await source.next(); chunk !== undefined; chunk = await source.next())
    chunks.push(Buffer.from(chunk))
  expect(chunks.map(({ length }) => length)).toEqual([300_000, 300_000, 50_000])
  expect(Buffer.concat(chunks).equals(content.subarray(0, 650_000))).toBe(true)
  expect((await source.reread(8192, 8192)).equals(content.subarray(8192, 16_384))).toBe(true)
  expect((await source.reread(700_000, 8192)).equals(content.subarray(700_000))).toBe(true)
  expect(await files.open(path('nothing'), { buffer })).toBeUndefined()
})

test.each([
  ['/etc'],
  ['/'],
  ['PG/..'],
  ['PG/../x'],
  ['PG/base/../../x'],
  ['PG/./base'],
  ['PG//base'],
  ['PG/base/'],
  ['PGx'],
  ['PG/a\0b'],
])('a path outside of the data directory is refused: %j', async (name) => {
  const files = new RemoteFiles(await served({}), 'db', never)
  const outside = asBytes(name.replace('PG', dir))
  for (const work of [
    files.list(outside),
    files.stat(outside, { follow: true }),
    files.open(outside, { buffer: Buffer.alloc(10) }),
  ])
    await expect(work).rejects.toMatchObject({ code: 'access' })
})

/** A server that answers every statement with its values. */
class Echo implements Partial<ServerConnection> {
  isClosed = false
  readonly facts = {
    versionNum: 150018,
    dataDirectory: bytes`/pg`,
    archiveMode: 'on',
    archiveCommand: asBytes('cp %p /\xff'),
    archiveLibrary: '',
    archiveTimeoutMs: 0,
    checkpointTimeoutMs: 300_000,
    walSegmentSize: 16_777_216,
    inRecovery: false,
  } as ServerConnection['facts']
  constructor(readonly signal: AbortSignal | undefined) {}
  async query<R>(sql: string, values: readonly unknown[] = []): Promise<R[]> {
    if (sql === 'wait') {
      await new Promise((_, reject) => this.signal!.addEventListener('abort', () => reject(new Error('ended'))))
    }
    if (sql === 'fail') throw new PgtsError('db-query', 'no', { hints: ['do this'] })
    return [{ sql, ...Object.fromEntries(values.map((value, at) => [`v${at}`, value])) } as R]
  }
  async [Symbol.asyncDispose]() {
    this.isClosed = true
  }
}

test('a session of the server of another host has its facts, results and errors', async () => {
  const echoes: Echo[] = []
  const connect = async ({ signal }: { signal?: AbortSignal } = {}) => {
    echoes.push(new Echo(signal))
    return echoes.at(-1) as unknown as ServerConnection
  }
  const connection = await served({ connect })
  const server = await RemoteServer.open(connection, {}, never)
  expect(server.facts).toMatchObject(echoes[0]!.facts)
  expect(server.facts.postgres.version).toBe('15')
  const values = [null, true, -1, 2 ** 40, 0.5, 'Füß', Buffer.from([0, 255])]
  expect(await server.query('values', values)).toEqual([
    { sql: 'values', ...Object.fromEntries(values.map((value, at) => [`v${at}`, value])) },
  ])
  await expect(server.query('fail')).rejects.toMatchObject({ code: 'db-query', hints: ['do this'] })
  await server[Symbol.asyncDispose]()
  expect(echoes[0]!.isClosed).toBe(true)
  await expect(server.query('values')).rejects.toMatchObject({ code: 'protocol' })
})

test('a cancelled statement ends its session, and the end of the connection ends all', async () => {
  const echoes: Echo[] = []
  const connect = async ({ signal }: { signal?: AbortSignal } = {}) => {
    echoes.push(new Echo(signal))
    return echoes.at(-1) as unknown as ServerConnection
  }
  const connection = await served({ connect })
  const cancel = new AbortController()
  const server = await RemoteServer.open(connection, {}, cancel.signal)
  await RemoteServer.open(connection, {}, never)
  const waiting = server.query('wait')
  setImmediate(() => cancel.abort(new Error('stop')))
  await expect(waiting).rejects.toThrow('stop')
  expect(echoes[0]!.signal?.aborted).toBe(true)
  await connection[Symbol.asyncDispose]()
  await connection.ended
  await expect.poll(() => echoes.map(({ isClosed }) => isClosed)).toEqual([true, true])
})
