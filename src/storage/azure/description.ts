import type { HttpAccess } from '../http/agents.ts'

/** A container of Azure Blob Storage as plain data, so that a worker thread can open its own client. Holds secrets. */
export interface AzureDescription {
  readonly account: string
  readonly container: string
  /** Where the account answers, without a slash at the end: `https://name.blob.core.windows.net`; see `azureServiceUrl`. */
  readonly serviceUrl: string
  readonly credential: AzureCredentialDescription
  /** Index tags for every blob. */
  readonly tags?: Readonly<Record<string, string>>
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  readonly access: HttpAccess
  /** How the options of this repository begin, for advice: `repo1`. */
  readonly repository: string
}

export type AzureCredentialDescription =
  /** `key`: base64. */
  | { readonly type: 'shared'; readonly key: string }
  /** `token`: the query string of a shared access signature, with or without '?'. */
  | { readonly type: 'sas'; readonly token: string }
  /** The identity of the machine. `identity`: the endpoint that App Service and Functions announce in their environment. */
  | { readonly type: 'auto'; readonly identity?: { readonly endpoint: string; readonly header: string } }

/**
 * Where the account answers.
 *
 * @param endpoint `blob.core.windows.net`, or another cloud's; with the scheme in front and the port behind if they differ
 * @param place.host what to talk to instead of the endpoint (`repo-storage-host`), with scheme and port alike
 * @param place.port absent: that of the host or endpoint
 * @param place.uriStyle absent: `path` where a host is given, as pgbackrest has it; otherwise `host`
 */
export function azureServiceUrl(
  account: string,
  endpoint: string,
  place: { host?: string; port?: number; uriStyle?: 'host' | 'path' } = {},
): string {
  const { scheme, host, port } = splitEndpoint(place.host ?? endpoint)
  const style = place.uriStyle ?? (place.host === undefined ? 'host' : 'path')
  const authority = `${style === 'host' ? `${account}.` : ''}${host}${portPart(scheme, place.port ?? port)}`
  return `${scheme}://${authority}${style === 'path' ? `/${account}` : ''}`
}

function splitEndpoint(text: string): { scheme: string; host: string; port: number | undefined } {
  const [, scheme = 'https', host = '', port] = /^(?:(https?):\/\/)?(\[[^\]]*\]|[^/:]*)(?::(\d+))?/i.exec(text)!
  return { scheme: scheme.toLowerCase(), host, port: port === undefined ? undefined : Number(port) }
}

function portPart(scheme: string, port: number | undefined): string {
  return port === undefined || port === (scheme === 'https' ? 443 : 80) ? '' : `:${port}`
}
