import { PgtsError } from '../util/error.ts'
import type { CommandName } from './command-table.ts'
import type { ResolvedValue } from './evaluate.ts'
import { ON_CLUSTER_HOST } from './option-row.ts'
import { rowFor } from './option-table.ts'
import { asTyped } from './evaluate.ts'
import { repoId } from '../util/repo-id.ts'

type Values = Map<string, ResolvedValue>

/** Rules between options, and defaults that depend on other options. Can change default values. */
export function checkTogether(values: Values, repoKeys: readonly number[], warn: (message: string) => void): void {
  checkSelectedRepo(values, repoKeys)
  checkRepoPaths(values, repoKeys)
  checkHosts(values)
  fitTimeouts(values)
  deriveArchiveRetention(values, repoKeys, warn)
}

/** Unsupported options: an error if ignoring the option would be unsafe, else one warning for all of them. */
export function checkSupport(command: CommandName, values: Values, warn: (message: string) => void): void {
  const warned: string[] = []
  const refused: { value: ResolvedValue; particular: boolean }[] = []
  for (const value of values.values()) {
    if (value.source === 'default' || value.reset || value.value === undefined) continue
    const row = rowFor(value.option, command)
    const column = row?.support ?? 'acts'
    const particular = typeof column === 'object'
    const support = particular
      ? (column[asTyped(value.value)] ?? 'acts')
      : isDefault(value, row?.default)
        ? 'acts'
        : column
    if (support === 'refuse') refused.push({ value, particular })
    else if (support === 'warn') warned.push(particular ? `${value.name}=${asTyped(value.value)}` : value.name)
  }
  // If an option is refused for its value (repo1-type=sftp), do not report the options that depend on it.
  const first = (refused.find(({ particular }) => particular) ?? refused[0])?.value
  if (first !== undefined) {
    const secret = rowFor(first.option, command)?.secret === true
    const shown = secret ? first.name : `${first.name}=${first.typed.join(' ')}`
    throw new PgtsError(
      'feature-not-supported',
      `${shown} (from ${first.origin}) is not supported yet, and ignoring it would be unsafe`,
      {
        hints: ['remove the option, or use pgbackrest for this'],
      },
    )
  }
  if (warned.length > 0) warn(`ignoring options that pgts does not support yet: ${warned.join(', ')}`)
}

function isDefault(value: ResolvedValue, given: unknown): boolean {
  return (typeof given === 'string' || typeof given === 'number') && asTyped(value.value) === String(given)
}

/** [072] if a command that works on the files of the cluster runs on another host. */
export function checkClusterHost(command: CommandName, values: Values): void {
  const host = values.get('pg1-host')
  if (!ON_CLUSTER_HOST.includes(command) || host?.value === undefined) return
  throw new PgtsError('host-invalid', `${command} command must be run on the PostgreSQL host`, {
    hints: [
      `run it on host '${asTyped(host.value)}'`,
      `if the cluster is on this host, remove pg1-host (from ${host.origin})`,
    ],
  })
}

function checkSelectedRepo(values: Values, repoKeys: readonly number[]): void {
  const repo = values.get('repo')
  if (typeof repo?.value !== 'number' || repoKeys.includes(repo.value)) return
  throw new PgtsError(
    'option-invalid-value',
    `repo (from ${repo.origin}) is ${repo.value}, but there is no repo${repo.value}`,
    {
      hints: [`configured: ${repoKeys.map((key) => repoId(key)).join(', ')}`],
    },
  )
}

function checkRepoPaths(values: Values, repoKeys: readonly number[]): void {
  const seen = new Map<unknown, number>()
  for (const key of repoKeys) {
    const path = values.get(`${repoId(key)}-path`)?.value
    if (
      path === undefined ||
      isOn(values, `${repoId(key)}-host`) ||
      values.get(`${repoId(key)}-type`)?.value !== 'posix'
    )
      continue
    const other = seen.get(path)
    if (other !== undefined) {
      throw new PgtsError(
        'option-invalid-value',
        `${repoId(other)}-path and ${repoId(key)}-path are both ${String(path)}`,
        {
          hints: ['set a different path for each repository'],
        },
      )
    }
    seen.set(path, key)
  }
}

/** A process has its cluster or its repository at hand: what is neither would cross the network twice. */
function checkHosts(values: Values): void {
  const hosts = (group: 'pg' | 'repo') =>
    [...values.values()].find(({ option, value }) => option === `${group}-host` && value !== undefined)
  const [pg, repo] = [hosts('pg'), hosts('repo')]
  if (pg === undefined || repo === undefined) return
  throw new PgtsError('config', 'pg and repo hosts cannot both be configured as remote', {
    hints: [
      `${pg.name} is set in ${pg.origin}, ${repo.name} in ${repo.origin}: remove one of them`,
      'on the repository host set pg1-host, on the PostgreSQL host set repo1-host',
    ],
  })
}

function isOn(values: Values, name: string): boolean {
  return values.get(name)?.value !== undefined
}

const TIMEOUT_MARGIN_MS = 30_000
const TIMEOUT_LEAST_MS = 15_000

/** A query must time out before the connection that waits for it. */
function fitTimeouts(values: Values): void {
  const db = values.get('db-timeout')
  const protocol = values.get('protocol-timeout')
  if (typeof db?.value !== 'number' || typeof protocol?.value !== 'number' || protocol.value > db.value) return
  if (protocol.source === 'default') {
    values.set(protocol.name, { ...protocol, value: db.value + TIMEOUT_MARGIN_MS })
    return
  }
  if (db.source === 'default') {
    const lowered = protocol.value - TIMEOUT_MARGIN_MS
    values.set(db.name, { ...db, value: lowered >= TIMEOUT_LEAST_MS ? lowered : Math.floor(protocol.value / 2) })
    return
  }
  throw new PgtsError(
    'option-invalid-value',
    `protocol-timeout=${protocol.typed.join('')} (from ${protocol.origin}) must be longer than ` +
      `db-timeout=${db.typed.join('')} (from ${db.origin})`,
  )
}

/** Without its own setting, the retention of WAL is that of backups. */
function deriveArchiveRetention(values: Values, repoKeys: readonly number[], warn: (message: string) => void): void {
  for (const key of repoKeys) {
    const name = (rest: string) => `${repoId(key)}-retention-${rest}`
    const get = (rest: string) => values.get(name(rest))?.value
    const archive = values.get(name('archive'))
    if (archive === undefined) continue
    const calendar = ['daily', 'weekly', 'monthly', 'yearly'].some((period) => get(period) !== undefined)
    if (get('full') === undefined && !calendar) {
      warn(
        `${name('full')} is not set (${name('full-type')}=${String(get('full-type'))}): ` +
          'no backup ever expires and the repository may run out of space; the highest number keeps all without this warning',
      )
    }
    const type = get('archive-type')
    if (archive.value !== undefined) {
      if (type === 'diff' && get('diff') === undefined) {
        warn(
          `${name('diff')} is not set although ${name('archive-type')}=diff; the highest number keeps all without this warning`,
        )
      }
      continue
    }
    if (type === 'full') {
      if (get('full-type') === 'count') values.set(archive.name, { ...archive, value: get('full') })
    } else if (type === 'diff' && get('diff') !== undefined) {
      values.set(archive.name, { ...archive, value: get('diff') })
    } else {
      const missing =
        type === 'diff' ? `neither ${archive.name} nor ${name('diff')} is set` : `${archive.name} is not set`
      warn(`WAL will not expire: ${name('archive-type')}=${String(type)}, but ${missing}`)
    }
  }
}
