import { readFileSync, readlinkSync } from 'node:fs'
import { decodeText } from '../util/byte-string.ts'

/** Node's replacement for a byte that is not part of a character. */
const REPLACED = '\ufffd'

/** The arguments after the program, as text of `decodeText`: Node itself would lose bytes that are not UTF-8. */
export function processArguments(): string[] {
  const argv = process.argv.slice(2)
  if (!argv.some((word) => word.includes(REPLACED))) return argv
  const words = readList('/proc/self/cmdline')
  return words === undefined ? argv : words.slice(words.length - argv.length)
}

/**
 * bin/pgts keeps NODE_EXTRA_CA_CERTS from Node, which parses the file and its own 140 certificates at every start (40 ms of CPU), and
 * passes it under another name. Programs that this one starts get it back.
 */
export function takeBackExtraCertificates(): void {
  const { pgts_extra_ca_certs: file } = process.env
  if (file === undefined) return
  delete process.env['pgts_extra_ca_certs']
  process.env['NODE_EXTRA_CA_CERTS'] = file
}

/** The arguments and the environment with which bin/pgts starts Node, for a process of pgts that is started without it. */
export function startOfNode(): { readonly args: readonly string[]; readonly env: NodeJS.ProcessEnv } {
  const args = process.execArgv.filter((argument) => argument === OWN_CERTIFICATES)
  const { NODE_EXTRA_CA_CERTS: file, ...rest } = process.env
  return { args, env: args.length === 0 || file === undefined ? process.env : { ...rest, pgts_extra_ca_certs: file } }
}

/** Of bin/pgts: pgts passes the trusted certificates for every connection. */
const OWN_CERTIFICATES = '--use-openssl-ca'

/** The environment that the process was started with, as text of `decodeText`. */
export function processEnvironment(): NodeJS.ProcessEnv {
  const names = Object.keys(process.env).filter((name) => process.env[name]?.includes(REPLACED))
  if (names.length === 0) return process.env
  const env = { ...process.env }
  for (const entry of readList('/proc/self/environ') ?? []) {
    const at = entry.indexOf('=')
    if (names.includes(entry.slice(0, at))) env[entry.slice(0, at)] = entry.slice(at + 1)
  }
  return env
}

/** The working directory as text of `decodeText`. */
export function processDirectory(): string {
  const cwd = process.cwd()
  return cwd.includes(REPLACED) ? decodeText(readlinkSync('/proc/self/cwd', { encoding: 'buffer' })) : cwd
}

/** Strings that end with a zero byte each; undefined without /proc: then the text that Node decoded is used. */
function readList(path: string): string[] | undefined {
  try {
    return decodeText(readFileSync(path)).split('\0').slice(0, -1)
  } catch {
    return undefined
  }
}
