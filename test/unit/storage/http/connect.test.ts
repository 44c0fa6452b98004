import { createServer, type AddressInfo, type Server } from 'node:net'
import { expect, test } from 'vitest'
import { Connector } from '../../../../src/storage/http/connect.ts'
import { SlowListener } from '../../../support/faults/slow-listener.ts'

const addresses = (...texts: string[]) => texts.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
const connector = (timeoutMs: number, ...texts: string[]) =>
  new Connector(timeoutMs, () => Promise.resolve(addresses(...texts)))

test('an attempt continues beside later ones: an address that takes longer than 250 ms is reached, with an unreachable one after it', async () => {
  await using far = await SlowListener.start('127.0.0.2')
  await using dead = await SlowListener.start('127.0.0.3', far.port)
  await Promise.all([far.fill(), dead.fill()])
  using own = connector(20_000, '127.0.0.2', '127.0.0.3')
  const reached = own.connect({ host: 'store.example', port: far.port })
  // Well after the attempt at the second address has begun.
  setTimeout(() => far.release(), 500)
  const socket = await reached
  expect(socket.remoteAddress).toBe('127.0.0.2')
  socket.destroy()
})

test('an unreachable address of each family is skipped, and not tried first again', async () => {
  const server = await listening('127.0.0.2')
  const { port } = server.address() as AddressInfo
  await using dead = await SlowListener.start('127.0.0.3', port)
  await dead.fill()
  using own = connector(20_000, '127.0.0.3', '::1', '127.0.0.2')
  for (let i = 0; i < 2; i++) {
    const socket = await own.connect({ host: 'store.example', port })
    expect(socket.remoteAddress).toBe('127.0.0.2')
    socket.destroy()
  }
  server.close()
})

test('the most specific error is reported', async () => {
  const server = await listening('127.0.0.2')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  await using dead = await SlowListener.start('127.0.0.3', port)
  await dead.fill()
  const error = (own: Connector) => own.connect({ host: 'store.example', port })
  using refused = connector(20_000, '127.0.0.2')
  await expect(error(refused)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  using silent = connector(600, '127.0.0.2', '127.0.0.3')
  await expect(error(silent)).rejects.toMatchObject({
    code: 'EHOSTUNREACH',
    message: 'store.example does not answer',
  })
  using nowhere = connector(20_000)
  await expect(error(nowhere)).rejects.toMatchObject({ code: 'ENOTFOUND' })
})

test('many attempts at once cause no warning of Node', async () => {
  const server = await listening('127.0.0.1')
  const { port } = server.address() as AddressInfo
  const warnings: Error[] = []
  const warn = (warning: Error) => warnings.push(warning)
  process.on('warning', warn)
  using own = connector(20_000, '127.0.0.1')
  const sockets = await Promise.all(Array.from({ length: 40 }, () => own.connect({ host: 'store.example', port })))
  await new Promise((resolve) => setImmediate(resolve))
  process.off('warning', warn)
  for (const socket of sockets) socket.destroy()
  server.close()
  expect(warnings).toEqual([])
})

test('disposing ends all attempts to connect', async () => {
  await using dead = await SlowListener.start('127.0.0.3')
  await dead.fill()
  const own = connector(60_000, '127.0.0.3')
  const waiting = own.connect({ host: 'store.example', port: dead.port })
  own[Symbol.dispose]()
  await expect(waiting).rejects.toMatchObject({ code: 'ECONNABORTED' })
})

async function listening(host: string): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined).end())
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  return server
}
