import { describe, expect, test } from 'vitest'
import { socketChannel } from '../../../src/remote/channel.ts'
import { accept, connect } from '../../../src/remote/connect.ts'
import { parseServingLine, servingLine } from '../../../src/remote/greeting.ts'
import { CALLER, socketPair } from '../../support/remote/connection-pair.ts'

const HOST = { host: 'far', hostCommandOption: 'repo1-host-cmd' }

/** The error of a caller whose other end sends these bytes, and then ends or waits. */
async function errorFor(sent: string, then: 'end' | 'wait' = 'wait'): Promise<unknown> {
  const [caller, serving] = await socketPair()
  serving.on('error', () => undefined).write(sent)
  if (then === 'end') serving.end()
  const options = { ioTimeoutMs: then === 'end' || sent.length > 0 ? 60_000 : 100, protocolTimeoutMs: 60_000, ...HOST }
  return connect(socketChannel(caller, CALLER), options).then(
    () => 'connected',
    (error: unknown) => error,
  )
}

describe('a caller', () => {
  test('names pgBackRest and its version when that is the program at the other end', async () => {
    expect(await errorFor('{"name":"pgBackRest","service":"remote","version":"2.59.1"}\n')).toMatchObject({
      code: 'protocol',
      message: "the program on 'far' is pgBackRest 2.59.1, not pgts",
      hints: [expect.stringContaining('repo1-host-cmd')],
    })
  })

  test.each([
    ['Welcome to far!\n', "the program on 'far' is not pgts: it sent 'Welcome to far!'"],
    ['\x1b[31mred\n', "the program on 'far' is not pgts: it sent '\\x1b[31mred'"],
    [`${'x'.repeat(2000)}`, `the program on 'far' is not pgts: it sent '${'x'.repeat(80)}'`],
    [
      '{"name":"pgts","version":"1"}\n',
      'the program on \'far\' is not pgts: it sent \'{"name":"pgts","version":"1"}\'',
    ],
    ['\n', "the program on 'far' is not pgts: it sent nothing"],
  ])('shows what was sent when it is not a greeting: %j', async (sent, message) => {
    expect(await errorFor(sent)).toMatchObject({ code: 'protocol', message })
  })

  test('reports the end without a greeting, and a greeting that does not come', async () => {
    expect(await errorFor('', 'end')).toMatchObject({
      code: 'host-connect',
      message: `${CALLER} terminated unexpectedly`,
    })
    expect(await errorFor('')).toMatchObject({
      code: 'host-connect',
      message: expect.stringContaining('has sent no greeting'),
    })
  })
})

describe('the number of the protocol', () => {
  const greet = (far: readonly [number, number], own: readonly [number, number]) =>
    parseServingLine(Buffer.from(servingLine(far)), own, HOST).protocol

  test('is the highest that both ends have', () => {
    expect(greet([1, 3], [2, 5])).toBe(3)
    expect(greet([2, 5], [1, 3])).toBe(3)
    expect(greet([2, 2], [1, 3])).toBe(2)
  })

  test('is an error with the ranges and the older host when there is none', () => {
    expect(() => greet([4, 5], [1, 3])).toThrow(
      expect.objectContaining({
        code: 'protocol',
        message: "pgts 0.0.0-source on 'far' has the protocols 4 to 5, pgts 0.0.0-source here has 1 to 3",
        hints: ['upgrade pgts on this host'],
      }),
    )
    expect(() => greet([1, 1], [2, 3])).toThrow(expect.objectContaining({ hints: ["upgrade pgts on 'far'"] }))
  })
})

test('a serving end refuses a caller that is not pgts, or uses a number that it has not', async () => {
  for (const [sent, message] of [
    ['GET / HTTP/1.1\r\n', 'is not pgts'],
    ['{"name":"pgts","version":"9","protocol":7}\n', 'uses protocol 7'],
  ] as const) {
    const [caller, serving] = await socketPair()
    caller.on('error', () => undefined).write(sent)
    const accepted = accept(socketChannel(serving, 'the caller'), { ioTimeoutMs: 60_000, protocolTimeoutMs: 60_000 })
    await expect(accepted).rejects.toMatchObject({ code: 'protocol', message: expect.stringContaining(message) })
  }
})
