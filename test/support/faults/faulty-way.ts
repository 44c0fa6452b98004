import { join } from 'node:path'
import { FaultyFront, type FrontFaults, RATE_LIMIT, SERVER_BUSY, SLOW_DOWN } from './faulty-front.ts'
import { type NetworkFaults, NetworkProxy } from './network-proxy.ts'
import type { Bucket, StoreName, Via } from '../stores/object-stores.ts'
import { makeTestDir } from '../processes/test-user.ts'
import { makeCertificates } from '../stores/tls.ts'

/** The answer of each store when it is overloaded. */
export const OVERLOADED: Readonly<Record<StoreName, FrontFaults['how']>> = {
  s3: SLOW_DOWN,
  azure: SERVER_BUSY,
  gcs: RATE_LIMIT,
}

/** The path to a store: a TCP proxy, then an HTTP proxy, so that both kinds of fault are possible. */
export class FaultyWay implements AsyncDisposable {
  private constructor(
    readonly front: FaultyFront,
    readonly network: NetworkProxy,
    readonly via: Via,
  ) {}

  static async to({ store, port, caFile }: Bucket): Promise<FaultyWay> {
    const certificates = makeCertificates(join(makeTestDir('front'), 'tls'))
    // The address in a GCS request begins with https.
    const isPlain = store === 's3' && port.plain !== undefined
    const target = isPlain ? { port: port.plain } : { port: port.tls, caFile }
    const front = await FaultyFront.start({ host: '127.0.0.1', ...target }, certificates)
    const network = await NetworkProxy.start({ host: '127.0.0.1', port: front.port })
    return new FaultyWay(front, network, { port: network.port, caFile: certificates.caFile })
  }

  set({ network = {}, front }: { readonly network?: NetworkFaults; readonly front?: FrontFaults | undefined }): void {
    this.network.set(network)
    this.front.set(front)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]()
    await this.front[Symbol.asyncDispose]()
  }
}
