import http from 'node:http'
import https from 'node:https'
import { TLSSocket, type PeerCertificate } from 'node:tls'
import type { StoreEndpoint } from '../endpoint.ts'
import { openAgents } from './agents.ts'

export interface EndpointAnswer {
  /** The first certificate of the chain to end; absent without TLS. */
  readonly certificate?: { readonly subject: string; readonly validToMs: number }
  /** The time of the server, to the second. */
  readonly serverMs?: number
}

/**
 * Asks a store for its certificate and its time, by a request without credentials whose answer is not used. The certificate is
 * not verified here, so that an expired one can be reported; its chain ends at a trusted one if there is one.
 */
export async function askEndpoint({ address, access }: StoreEndpoint, signal: AbortSignal): Promise<EndpointAnswer> {
  using agents = await openAgents(access, { serverName: address.host, acceptAny: true })
  const { secure, host, port } = address
  const common = { method: 'HEAD', host, port, path: '/', signal }
  return await new Promise((resolve, reject) => {
    const answered = (response: http.IncomingMessage) => {
      const { socket, headers } = response
      const certificate = socket instanceof TLSSocket ? firstToEnd(socket.getPeerCertificate(true)) : undefined
      const serverMs = Date.parse(headers.date ?? '')
      resolve({
        ...(certificate === undefined ? {} : { certificate }),
        // An answer with an age comes from a cache.
        ...(Number.isNaN(serverMs) || headers.age !== undefined ? {} : { serverMs }),
      })
      response.resume()
    }
    const request = secure
      ? https.request({ ...common, agent: agents.https }, answered)
      : http.request({ ...common, agent: agents.http }, answered)
    request.once('error', reject)
    request.end()
  })
}

function firstToEnd(leaf: PeerCertificate): EndpointAnswer['certificate'] {
  const chain: PeerCertificate[] = []
  let at: PeerCertificate | undefined = leaf
  // The issuer of an authority's own certificate is that certificate.
  while (at?.valid_to !== undefined && !chain.includes(at)) {
    chain.push(at)
    at = (at as PeerCertificate & { issuerCertificate?: PeerCertificate }).issuerCertificate
  }
  const ends = chain.map((one) => ({ subject: nameOf(one), validToMs: Date.parse(one.valid_to) }))
  return ends.reduce<EndpointAnswer['certificate']>(
    (first, one) => (first === undefined || one.validToMs < first.validToMs ? one : first),
    undefined,
  )
}

function nameOf({ subject }: PeerCertificate): string {
  return [subject.CN].flat().join(', ') || 'without a name'
}
