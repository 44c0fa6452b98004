/** Address of a store: the host to connect to, and whether TLS is used. */
export interface StoreAddress {
  readonly secure: boolean
  /** A host name or an IP address without brackets. */
  readonly host: string
  readonly port: number
}

/** @param url begins with `http://` or `https://` */
export function addressOf(url: string): StoreAddress {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'https:'
  return { secure, host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) || (secure ? 443 : 80) }
}
