import type { HttpAccess } from '../storage/http/agents.ts'
import type { HttpProxy } from '../storage/http/proxy.ts'
import { PgtsError } from '../util/error.ts'
import type { Environment, StorageSettings } from './storage-settings.ts'

/** Address of a service in an option: a host, optionally with scheme and port. */
export interface Address {
  readonly secure: boolean
  readonly host: string
  /** Absent: the default of the scheme. */
  readonly port?: number
}

/** Labels of a host name, separated by dots; `_` is allowed, because old bucket names contain it. */
export const HOST_LABELS = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/

/** undefined for an invalid address. */
export function parseAddress(text: string): Address | undefined {
  const parts = /^(?:(https?):\/\/)?(\[[0-9a-fA-F:.]+\]|[^/:[\]@?#\s]+)(?::(\d{1,5}))?\/?$/i.exec(text)
  if (parts === null) return undefined
  const [, scheme = 'https', host = '', port] = parts
  const address = { secure: scheme.toLowerCase() === 'https', host: host.replace(/^\[(.*)\]$/, '$1') }
  const whole = port === undefined ? address : { ...address, port: Number(port) }
  return URL.canParse(urlOf(whole)) ? whole : undefined
}

/** `https://host:port`; a default port is omitted. */
export function urlOf({ secure, host, port }: Address): string {
  const shown = port === undefined || port === (secure ? 443 : 80) ? '' : `:${port}`
  return `${secure ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}${shown}`
}

/** Access to a store: certificates, timeouts, and the proxy of the environment. */
export function httpAccess(settings: StorageSettings): HttpAccess {
  const { storageCaFile, storageCaPath, storageVerifyTls } = settings.options
  const proxy = proxyOf(settings.env)
  return {
    verifyTls: storageVerifyTls ?? true,
    stallMs: settings.ioTimeoutMs,
    caFile: storageCaFile,
    caPath: storageCaPath,
    proxy,
  }
}

/** HTTPS_PROXY and NO_PROXY. As in curl, the lower-case name takes precedence, and an empty value means not set. */
export function proxyOf(env: Environment): HttpProxy | undefined {
  const name = env['https_proxy'] ? 'https_proxy' : 'HTTPS_PROXY'
  const text = env[name]
  if (!text) return undefined
  const url = environmentUrl(name, /^https?:\/\//i.test(text) ? text : `http://${text}`)
  return { url, exceptions: env['no_proxy'] || env['NO_PROXY'] || '' }
}

/**
 * Checks a URL in the environment.
 *
 * @throws PgtsError option-invalid-value without the text, which may contain a password
 */
export function environmentUrl(name: string, text: string): string {
  try {
    const { protocol, username, password } = new URL(text)
    if (protocol === 'http:' || protocol === 'https:') {
      // Both are decoded before they are sent.
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
