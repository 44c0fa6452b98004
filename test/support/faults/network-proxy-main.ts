import { parseArgs } from 'node:util'
import { type NetworkFaults, NetworkProxy } from './network-proxy.ts'

/**
 * A slow network for tests by hand, until ^C:
 *
 *     node scripts/run.mjs test/support/faults/network-proxy-main.ts --target=127.0.0.1:9000 [--port=9001]
 *       [--latency=10] [--jitter=2] [--bandwidth=BYTES_A_SECOND] [--window=1048576] [--refuse=0.1]
 *
 * Latency and jitter are milliseconds each way: --latency=10 makes a round trip of 20 ms. Prints the port it listens on;
 * a line of JSON on stdin, shaped as `NetworkFaults`, changes the network; a blank line prints the counters.
 */
const { values } = parseArgs({
  options: {
    target: { type: 'string' },
    port: { type: 'string', default: '0' },
    latency: { type: 'string' },
    jitter: { type: 'string' },
    bandwidth: { type: 'string' },
    window: { type: 'string' },
    refuse: { type: 'string' },
  },
})
const [, host, port] = /^(.+):(\d+)$/.exec(values.target ?? '') ?? []
if (host === undefined) throw new Error('--target=HOST:PORT is required')
const faults: NetworkFaults = {
  latencyMs: values.latency === undefined ? undefined : Number(values.latency),
  jitterMs: values.jitter === undefined ? undefined : Number(values.jitter),
  bytesPerSecond: values.bandwidth === undefined ? undefined : Number(values.bandwidth),
  windowBytes: values.window === undefined ? undefined : Number(values.window),
  refuseShare: values.refuse === undefined ? undefined : Number(values.refuse),
}
const proxy = await NetworkProxy.start({ host, port: Number(port) }, faults, Number(values.port))
console.log(JSON.stringify({ port: proxy.port, faults }))
process.stdin.setEncoding('utf8').on('data', (line: string) => {
  if (line.trim() !== '') proxy.set(JSON.parse(line) as NetworkFaults)
  console.log(JSON.stringify(proxy.counters))
})
await new Promise((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve)
})
await proxy[Symbol.asyncDispose]()
process.exit()
