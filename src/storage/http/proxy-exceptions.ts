import { BlockList, isIP, isIPv6 } from 'node:net'

/**
 * True if NO_PROXY contains this host. Its entries, separated by commas or spaces, are names (`host`, and everything
 * below it; `.suffix` and `*.suffix` mean the same), addresses, networks (`10.0.0.0/8`, `fd00::/8`), patterns
 * (`192.168.*`), or `*` for everything. Each may have a port: `host:443`, `[::1]:443`. Names are not resolved, as in
 * curl.
 *
 * @param host a name or an address, without brackets
 */
export function isException(noProxy: string, host: string, port: number): boolean {
  const named = host.toLowerCase().replace(/\.$/, '').replace(/%.*$/, '')
  return noProxy
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => {
      if (entry === '*') return true
      const { name, only } = parts(entry)
      if (name === '' || (only !== undefined && only !== port)) return false
      if (name.includes('*', 1)) return glob(name).test(named)
      return isIP(named) === 0 ? isBelow(named, name) : isWithin(named, name)
    })
}

/** Removes brackets and a port; an IPv6 address without brackets has no port. */
function parts(entry: string): { name: string; only?: number } {
  const bracketed = /^\[([^\]]*)\](\/\d+)?(?::(\d+))?$/.exec(entry)
  const [, address, network = '', port] = bracketed ?? (/:.*:/.test(entry) ? ['', entry] : splitPort(entry))
  return { name: `${address ?? ''}${network}`, only: port === undefined ? undefined : Number(port) }
}

function splitPort(entry: string): [string, string, string, string | undefined] {
  const [, name = '', port] = /^(.*?)(?::(\d+))?$/.exec(entry)!
  return ['', name, '', port]
}

function glob(pattern: string): RegExp {
  const escaped = pattern.split('*').map((text) => text.replaceAll(/[.[\]()+?^$|{}\\]/g, '\\$&'))
  return new RegExp(`^${escaped.join('.*')}$`)
}

function isBelow(host: string, name: string): boolean {
  const domain = name.replace(/^\*?\./, '').replace(/\.$/, '')
  return domain !== '' && (host === domain || host.endsWith(`.${domain}`))
}

/** An address can be written in several ways; an IPv4 address also as `::ffff:10.0.0.1`. */
function isWithin(address: string, name: string): boolean {
  const [network = '', prefix] = name.split('/')
  if (isIP(network) === 0) return false
  const family = familyOf(network)
  const bits = prefix === undefined ? (family === 'ipv6' ? 128 : 32) : Number(prefix)
  if (!/^\d*$/.test(prefix ?? '') || bits > (family === 'ipv6' ? 128 : 32)) return false
  const list = new BlockList()
  list.addSubnet(network, bits, family)
  return list.check(address, familyOf(address))
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4'
}
