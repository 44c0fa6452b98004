import type { HttpAccess } from '../storage/http/agents.ts'
import type { HttpProxy } from '../storage/http/proxy.ts'
import type { Environment, RepositoryChoice } from './repository.ts'

/** Where something listens, as an option names it: a host, with scheme and port around it where they differ. */
export interface Address {
  readonly secure: boolean
  readonly host: string
  /** Absent: the usual one of the scheme. */
  readonly port?: number
}

/** undefined for what is not an address. */
export function parseAddress(text: string): Address | undefined {
  const parts = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^/:[\]@?#\s]+)(?::(\d{1,5}))?\/?$/i.exec(text)
  if (parts === null) return undefined
  const [, scheme = 'https', host = '', port] = parts
  const address = { secure: scheme.toLowerCase() === 'https', host: host.replace(/^\[(.*)\]$/, '$1') }
  return port === undefined ? address : { ...address, port: Number(port) }
}

/** `https://host:port`, without what is usual. */
export function urlOf({ secure, host, port }: Address): string {
  const shown = port === undefined || port === (secure ? 443 : 80) ? '' : `:${port}`
  return `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}${shown}`
}

/** How to reach a store: certificates, patience, and the proxy that the environment names. */
export function httpAccess(choice: RepositoryChoice): HttpAccess {
  const { storageCaFile, storageCaPath, storageVerifyTls } = choice.options
  const proxy = proxyOf(choice.env)
  return {
    verifyTls: storageVerifyTls ?? true,
    stallMs: choice.ioTimeoutMs,
    ...(storageCaFile === undefined ? {} : { caFile: storageCaFile }),
    ...(storageCaPath === undefined ? {} : { caPath: storageCaPath }),
    ...(proxy === undefined ? {} : { proxy }),
  }
}

/** HTTPS_PROXY and NO_PROXY. As in curl, lower case comes first, and what is empty is not set. */
export function proxyOf(env: Environment): HttpProxy | undefined {
  const url = env['https_proxy'] || env['HTTPS_PROXY']
  if (!url) return undefined
  const exceptions = env['no_proxy'] || env['NO_PROXY'] || ''
  return { url: /^https?:\/\//i.test(url) ? url : `http://${url}`, exceptions }
}
