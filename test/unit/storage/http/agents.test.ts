import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp, type IncomingMessage, type Server } from 'node:http'
import { createServer as createHttps } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openAgents, type Agents, type HttpAccess } from '../../../../src/storage/http/agents.ts'
import { httpSender, readBody } from '../../../../src/storage/http/send.ts'
import { SlowListener } from '../../../support/faults/slow-listener.ts'
import { makeCertificates } from '../../../support/stores/tls.ts'
import { until } from '../../../support/until.ts'

let dir: string
let caFile: string
let store: Server
let proxy: Server
/** The same over TLS. */
let secureProxy: Server
let connections: number
/** Requests to the proxy, with their authorization. */
let asked: { url: string; login: string | undefined }[]
let refuses: boolean
const tunnels = new Set<Socket>()

const portOf = (server: Server) => (server.address() as AddressInfo).port
const listening = (server: Server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'pgts-agents-'))
  const made = makeCertificates(join(dir, 'tls'))
  caFile = made.caFile
  const tls = { key: readFileSync(made.keyFile), cert: readFileSync(made.certFile) }
  store = createHttps(tls, (request, response) => response.end(`hello ${request.url ?? ''}`)) as unknown as Server
  store.on('secureConnection', () => connections++)
  proxy = createHttp()
  secureProxy = createHttps(tls) as unknown as Server
  const pass = (request: IncomingMessage, client: Socket) => {
    asked.push({ url: request.url ?? '', login: request.headers['proxy-authorization'] })
    if (refuses) return void client.end('HTTP/1.1 403 Forbidden\r\n\r\n')
    const server = connect(portOf(store), '127.0.0.1', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      server.pipe(client).pipe(server)
    })
    for (const socket of [client, server]) {
      tunnels.add(socket)
      socket.on('error', () => undefined)
    }
  }
  for (const server of [proxy, secureProxy]) server.on('connect', pass)
  await Promise.all([listening(store), listening(proxy), listening(secureProxy)])
})
afterAll(() => {
  for (const socket of tunnels) socket.destroy()
  store.close()
  proxy.close()
  secureProxy.close()
  rmSync(dir, { recursive: true, force: true })
})
beforeEach(() => {
  connections = 0
  asked = []
  refuses = false
})

/** The answers to some requests, one after the other. */
async function ask(access: Partial<HttpAccess>, host = 'localhost', serverName?: string, times = 1): Promise<string[]> {
  using agents = await openAgents({ verifyTls: true, stallMs: 5000, ...access }, { serverName })
  const send = httpSender(agents, 5000)
  const answers: string[] = []
  for (let i = 0; i < times; i++) {
    const response = await send({ method: 'GET', url: `https://${host}:${portOf(store)}/${i}`, headers: {} })
    answers.push((await readBody(response)).toString())
  }
  return answers
}

describe('certificates', () => {
  test('of the configured file or directory are trusted, others are not', async () => {
    expect(await ask({ caFile })).toEqual(['hello /0'])
    const path = join(dir, 'ca.d')
    mkdirSync(path)
    writeFileSync(join(path, 'README'), 'notes')
    writeFileSync(join(path, 'ours.pem'), readFileSync(caFile))
    expect(await ask({ caPath: path })).toEqual(['hello /0'])
    await expect(ask({})).rejects.toMatchObject({ code: expect.stringMatching(/CERT|VERIFY/) })
    expect(await ask({ verifyTls: false })).toEqual(['hello /0'])
  })

  test('must name the expected host', async () => {
    await expect(ask({ caFile }, 'localhost', 'elsewhere.example')).rejects.toMatchObject({
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    })
  })

  test('that cannot be read or parsed are reported by name', async () => {
    await expect(ask({ caFile: join(dir, 'absent') })).rejects.toMatchObject({ code: 'file-open' })
    const none = join(dir, 'none')
    writeFileSync(none, 'not a certificate')
    await expect(ask({ caFile: none })).rejects.toMatchObject({ code: 'file-invalid' })
    const empty = join(dir, 'empty')
    mkdirSync(empty)
    await expect(ask({ caPath: empty })).rejects.toMatchObject({ code: 'file-invalid' })
    await expect(ask({ caPath: join(dir, 'absent') })).rejects.toMatchObject({ code: 'path-open' })
  })
})

test('a connection is reused', async () => {
  expect(await ask({ caFile }, 'localhost', undefined, 3)).toHaveLength(3)
  expect(connections).toBe(1)
})

describe('connections opened ahead', () => {
  const address = () => ({ secure: true, host: 'localhost', port: portOf(store) })
  const get = async (agents: Agents) => {
    const url = `https://localhost:${portOf(store)}/`
    return (await readBody(await httpSender(agents, 5000)({ method: 'GET', url, headers: {} }))).toString()
  }

  test('are used by requests, whether established or not', async () => {
    using agents = await openAgents({ verifyTls: true, stallMs: 5000, caFile })
    agents.connectAhead(address(), 2)
    await until('both connections', () => connections === 2)
    expect(await Promise.all([get(agents), get(agents)])).toEqual(['hello /', 'hello /'])
    expect(connections).toBe(2)
    agents.connectAhead(address(), 1)
    expect(await Promise.all([get(agents), get(agents), get(agents)])).toHaveLength(3)
    expect(connections).toBe(3)
  })

  test('have no effect when they fail: the request reports the reason', async () => {
    using agents = await openAgents({ verifyTls: true, stallMs: 5000 })
    agents.connectAhead(address(), 2)
    await expect(get(agents)).rejects.toMatchObject({ code: expect.stringMatching(/CERT|VERIFY/) })
    agents.connectAhead({ secure: true, host: 'no-such-host.invalid', port: 443 }, 1)
    agents.connectAhead({ secure: false, host: 'localhost', port: 1 }, 1)
  })

  test('are not used when the store has closed them', async () => {
    using agents = await openAgents({ verifyTls: true, stallMs: 5000, caFile })
    agents.connectAhead(address(), 2)
    await until('both connections', () => connections === 2)
    store.closeAllConnections()
    // The close of the two connections may be detected at this moment.
    const again = () => get(agents)
    expect(await again().catch(again).catch(again)).toBe('hello /')
    expect(connections).toBe(3)
  })
})

test('a host with one unreachable address is reached at the other, in either order', async () => {
  const port = portOf(store)
  await using dead = await SlowListener.start('127.0.0.3', port)
  await dead.fill()
  const address = (text: string) => ({ address: text, family: 4 })
  for (const order of [
    ['127.0.0.3', '127.0.0.1'],
    ['127.0.0.1', '127.0.0.3'],
  ]) {
    const access = { verifyTls: true, stallMs: 5000, caFile }
    using agents = await openAgents(access, { lookup: () => Promise.resolve(order.map(address)) })
    const send = httpSender(agents, 5000)
    const response = await send({ method: 'GET', url: `https://localhost:${port}/`, headers: {} })
    expect((await readBody(response)).toString()).toBe('hello /')
  }
})

describe('through a proxy', () => {
  const through = (exceptions = '') => ({ url: `http://user:p%40ss@127.0.0.1:${portOf(proxy)}`, exceptions })

  test('TLS reaches the store, and the certificate of the store is checked', async () => {
    expect(await ask({ caFile, proxy: through() }, 'localhost', undefined, 2)).toEqual(['hello /0', 'hello /1'])
    const login = `Basic ${Buffer.from('user:p@ss').toString('base64')}`
    expect(asked).toEqual([{ url: `localhost:${portOf(store)}`, login }])
    await expect(ask({ proxy: through() })).rejects.toMatchObject({ code: expect.stringMatching(/CERT|VERIFY/) })
  })

  test('that is reached by TLS is not trusted by the certificates of the store', async () => {
    const secure = { url: `https://localhost:${portOf(secureProxy)}`, exceptions: '' }
    await expect(ask({ caFile, proxy: secure })).rejects.toMatchObject({ code: expect.stringMatching(/CERT|VERIFY/) })
    expect(asked).toEqual([])
  })

  test('that refuses is reported with its message, without password', async () => {
    refuses = true
    const error = (await ask({ caFile, proxy: through() }).catch((caught: unknown) => caught)) as Error
    expect(error.message).toContain(`refuses to connect to localhost:${portOf(store)}: 403 Forbidden`)
    expect(error.message).not.toContain('p@ss')
  })

  test('is decided for each host: store and credential service may differ', async () => {
    using agents = await openAgents({ verifyTls: true, stallMs: 5000, caFile, proxy: through('127.0.0.1') })
    const send = httpSender(agents, 5000)
    for (const host of ['127.0.0.1', 'localhost', '127.0.0.1']) {
      const url = `https://${host}:${portOf(store)}/`
      expect((await readBody(await send({ method: 'GET', url, headers: {} }))).toString()).toBe('hello /')
    }
    expect(asked.map(({ url }) => url)).toEqual([`localhost:${portOf(store)}`])
  })

  test('that does not exist is reported', async () => {
    await expect(ask({ caFile, proxy: { url: 'http://127.0.0.1:1', exceptions: '' } })).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
  })
})
