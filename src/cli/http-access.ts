import type { HttpAccess } from '../storage/http/agents.ts'
import type { HttpProxy } from '../storage/http/proxy.ts'
import { PgtsError } from '../util/error.ts'
import type { Environment, RepositoryChoice } from './repository.ts'

/** Where something listens, as an option names it: a host, with scheme and port around it where they differ. */
export interface Address {
  readonly secure: boolean
  readonly host: string
  /** Absent: the usual one of the scheme. */
  readonly port?: number
}

/** Labels of a host name, with dots between them; also `_`, which old buckets have. */
export const HOST_LABELS = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/

/** undefined for what is not an address. */
export function parseAddress(text: string): Address | undefined {
  const parts = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^/:[\]@?#\s]+)(?::(\d{1,5}))?\/?$/i.exec(text)
  if (parts === null) return undefined
  const [, scheme = 'https', host = '', port] = parts
  const address = { secure: scheme.toLowerCase() === 'https', host: host.replace(/^\[(.*)\]$/, '$1') }
  const whole = port === undefined ? address : { ...address, port: Number(port) }
  return URL.canParse(urlOf(whole)) ? whole : undefined
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
    caFile: storageCaFile,
    caPath: storageCaPath,
    proxy,
  }
}

/** HTTPS_PROXY and NO_PROXY. As in curl, lower case comes first, and what is empty is not set. */
export function proxyOf(env: Environment): HttpProxy | undefined {
  const name = env['https_proxy'] ? 'https_proxy' : 'HTTPS_PROXY'
  const text = env[name]
  if (!text) return undefined
  const url = environmentUrl(name, /^https?:\/\//i.test(text) ? text : `http://${text}`)
  const exceptions = env['no_proxy'] || env['NO_PROXY'] || ''
  return { url, exceptions }
}

/**
 * A URL that the environment names.
 *
 * @throws PgtsError option-invalid-value, without the text: it may hold a password
 */
export function environmentUrl(name: string, text: string): string {
  try {
    const { protocol, username, password } = new URL(text)
    if (protocol === 'http:' || protocol === 'https:') {
      // Both are sent decoded.
      decodeURIComponent(username + password)
      return text
    }
  } catch {
    // Reported below.
  }
  throw new PgtsError('option-invalid-value', `invalid URL in the environment variable ${name}`, {
    hints: [`set ${name} to a URL such as http://host:port, with special characters of a password escaped (%40 for @)`],
  })
}
