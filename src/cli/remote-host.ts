import type { ResolvedValue } from '../config/evaluate.ts'
import { groupOf, optionRow } from '../config/option-table.ts'
import type { AnyResolved } from '../config/resolve.ts'
import type { HostDescription, Transport } from '../remote/host.ts'
import { PgtsError } from '../util/error.ts'
import { execId } from './exec-id.ts'

const IO_TIMEOUT_MS = 60_000
/** protocol-timeout of commands without this option. */
export const PROTOCOL_TIMEOUT_MS = 31 * 60_000

/** How the process is reached that serves a repository on another host. undefined: the repository is on this host. */
export function repositoryHost(resolved: AnyResolved, key: number): HostDescription | undefined {
  return hostOf(resolved, 'repo', key)
}

/**
 * The other host by the options `repoN-host*` or `pgN-host*`. The command line is that of pgbackrest, so that entries of
 * authorized_keys for it work: options that describe the repository or the cluster, but no secrets, and no paths of the
 * configuration, of locks or of logs, which are those of the other host.
 */
export function hostOf(resolved: AnyResolved, kind: 'pg' | 'repo', key: number): HostDescription | undefined {
  const { command, options, values } = resolved
  const prefix = `${kind}${key}`
  const given = (rest: string) => values.get(`${prefix}-${rest}`)?.value
  const host = textOf(given('host'))
  if (host === undefined) return undefined
  const { ioTimeout = IO_TIMEOUT_MS, stanza } = options
  const protocolTimeout = ('protocolTimeout' in options ? options.protocolTimeout : undefined) ?? PROTOCOL_TIMEOUT_MS
  const open = {
    kind,
    command,
    stanza,
    key: kind === 'pg' ? 1 : key,
    execId: execId(),
    ioTimeoutMs: ioTimeout,
    protocolTimeoutMs: protocolTimeout,
  }
  const transport = given('host-type') === 'tls' ? tlsTransport(resolved, prefix) : sshTransport(resolved, kind, key)
  return { host, hostCommandOption: `${prefix}-host-cmd`, transport, open }
}

/** The other host receives no options: it uses its own. */
function tlsTransport(resolved: AnyResolved, prefix: string): Transport {
  const { values } = resolved
  return {
    kind: 'tls',
    port: portOf(resolved, prefix) ?? 8432,
    caFile: textOf(values.get(`${prefix}-host-ca-file`)?.value),
    caPath: textOf(values.get(`${prefix}-host-ca-path`)?.value),
    certFile: required(resolved, `${prefix}-host-cert-file`),
    keyFile: required(resolved, `${prefix}-host-key-file`),
    option: `${prefix}-host`,
  }
}

function sshTransport(resolved: AnyResolved, kind: 'pg' | 'repo', key: number): Transport {
  const { command, values } = resolved
  const prefix = `${kind}${key}`
  return {
    kind: 'ssh',
    program: textOf(values.get('cmd-ssh')?.value) ?? 'ssh',
    user: required(resolved, `${prefix}-host-user`),
    port: portOf(resolved, prefix),
    command: required(resolved, `${prefix}-host-cmd`),
    args: [...argumentsFor(resolved, kind, key).sort(), `${command}:remote`],
  }
}

function portOf({ values }: AnyResolved, prefix: string): number | undefined {
  const port = values.get(`${prefix}-host-port`)?.value
  return typeof port === 'number' ? port : undefined
}

function argumentsFor(resolved: AnyResolved, kind: 'pg' | 'repo', key: number): string[] {
  const { options, values } = resolved
  const all = [...values.values()]
  const prefix = `${kind}${key}-host-`
  const config = all
    .filter(({ name, source }) => name.startsWith(`${prefix}config`) && source !== 'default')
    .flatMap((value) => argument(value.name.slice(prefix.length), value))
  const carried = all.filter((value) => isCarried(value, kind, key)).flatMap((value) => argument(value.name, value))
  return [
    ...config,
    ...carried,
    `--exec-id=${execId()}`,
    '--log-level-console=off',
    '--log-level-file=off',
    '--log-level-stderr=error',
    `--remote-type=${kind}`,
    ...(kind === 'repo' ? [`--repo=${key}`] : []),
    ...(options.stanza === undefined ? [] : [`--stanza=${options.stanza}`]),
  ]
}

const GENERAL = ['buffer-size', 'db-timeout', 'io-timeout', 'protocol-timeout']
/** They are about the other host itself, or used here only. */
const NOT_CARRIED = /^(?:repo-(?:host|local|cipher|retention|bundle|block|hardlink)|pg-(?:host|local))/

function isCarried({ option, key, source, value, reset }: ResolvedValue, kind: 'pg' | 'repo', only: number): boolean {
  if (source === 'default' || reset || value === undefined || optionRow(option).secret === true) return false
  const group = groupOf(option)
  if (option === 'pg-version-force') return kind === 'pg'
  if (group === undefined) return GENERAL.includes(option)
  // pgbackrest requires pg1-path even of a process that serves a repository.
  if (group === 'pg' && kind === 'repo') return option === 'pg-path' && key === 1
  return group === kind && key === only && !NOT_CARRIED.test(option)
}

/** Of clusters the other host knows only one: it is pg1 there. */
function argument(name: string, { typed, value }: ResolvedValue): string[] {
  const written = name.replace(/^pg\d+-/, 'pg1-')
  if (typeof value === 'boolean') return [value ? `--${written}` : `--no-${written}`]
  return typed.map((text) => `--${written}=${text}`)
}

function required({ values }: AnyResolved, name: string): string {
  const text = textOf(values.get(name)?.value)
  if (text === undefined) throw new PgtsError('option-required', `${name} is not set`)
  return text
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
