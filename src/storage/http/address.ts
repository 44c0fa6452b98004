/** Where a store answers: a host to connect to, and whether by TLS. */
export interface StoreAddress {
  readonly secure: boolean
  /** A name or an address, without brackets. */
  readonly host: string
  readonly port: number
}

/** @param url begins with `http://` or `https://` */
export function addressOf(url: string): StoreAddress {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'https:'
  return { secure, host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) || (secure ? 443 : 80) }
}
