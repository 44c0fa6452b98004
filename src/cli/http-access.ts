import type { HttpAccess } from '../storage/http/agents.ts'
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

/** How to reach a store that answers at `address`: certificates, patience, and the proxy that the environment names. */
export function httpAccess(choice: RepositoryChoice, address: Address): HttpAccess {
  const { storageCaFile, storageCaPath, storageVerifyTls } = choice.options
  const proxy = address.secure ? proxyFor(address.host, address.port ?? 443, choice.env) : undefined
  return {
    verifyTls: storageVerifyTls ?? true,
    stallMs: choice.ioTimeoutMs,
    ...(storageCaFile === undefined ? {} : { caFile: storageCaFile }),
    ...(storageCaPath === undefined ? {} : { caPath: storageCaPath }),
    ...(proxy === undefined ? {} : { proxy }),
  }
}

/** HTTPS_PROXY, unless NO_PROXY names the host, a domain above it, or `*`; in capitals or not, as curl has it. */
export function proxyFor(host: string, port: number, env: Environment): string | undefined {
  const proxy = env['https_proxy'] || env['HTTPS_PROXY']
  if (proxy === undefined || proxy === '') return undefined
  const without = (env['no_proxy'] ?? env['NO_PROXY'] ?? '').split(/[\s,]+/).filter((entry) => entry !== '')
  const named = host.toLowerCase()
  for (const entry of without) {
    if (entry === '*') return undefined
    const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(entry.toLowerCase())!
    const domain = name.replace(/^\*?\./, '')
    if (only !== undefined && Number(only) !== port) continue
    if (named === domain || named.endsWith(`.${domain}`)) return undefined
  }
  return /^https?:\/\//i.test(proxy) ? proxy : `http://${proxy}`
}
