import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Hosts, TestHost } from '../../test/support/hosts/hosts.ts'
import type { Cluster } from '../../test/support/postgres/postgres.ts'
import type { Transport } from './host-transport.ts'
import type { Program, Variant } from './programs.ts'
import { PGBACKREST, type Settings } from './settings.ts'

/** One program, installed on both hosts. */
export interface HostProgram extends Program {
  /** Its configuration on the PostgreSQL host; `config` is that of the repository host. */
  readonly postgresConfig: string
  /** The program on the host of PostgreSQL, whose user cannot use that of the other host. */
  readonly postgresProgram: string
  readonly repoPath: string
}

export interface HostSite {
  readonly hosts: Hosts
  readonly transport: Transport
  readonly cluster: Cluster
  readonly settings: Settings
}

/** Writes the configuration of a program on both hosts. All variants use one repository. */
export function makeHostProgram(name: Program['name'], variant: Variant, site: HostSite): HostProgram {
  const { hosts, transport, cluster } = site
  const { postgres, repository } = hosts
  const programOf = (host: TestHost) => (name === 'pgts' ? join(host.dir, 'bin/pgts') : PGBACKREST)
  const file = `${name}-${variant}.conf`
  const repoPath = join(repository.dir, name)
  if (!existsSync(repoPath)) mkdirSync(repoPath, { mode: 0o750 })
  repository.give(repoPath)
  const other = (prefix: 'pg1' | 'repo1', host: TestHost) =>
    transport.optionsFor(prefix, { name, host, command: programOf(host), config: join(host.dir, file) })
  const retention = { 'repo1-retention-full': 99, ...(variant === 'bundle' ? { 'repo1-bundle': 'y' } : {}) }
  const backup = { 'start-fast': 'y', 'archive-check': 'n', ...retention }
  repository.write(
    file,
    configuration(
      { ...common(repository, name, site), 'repo1-path': repoPath, ...backup },
      { ...other('pg1', postgres), ...cluster.pgOptions() },
    ),
  )
  postgres.write(
    file,
    configuration({ ...common(postgres, name, site), ...other('repo1', repository) }, cluster.pgOptions()),
  )
  return {
    name,
    program: programOf(repository),
    postgresProgram: programOf(postgres),
    dir: '/',
    config: join(repository.dir, file),
    postgresConfig: join(postgres.dir, file),
    repoPath,
    target: join(postgres.dir, `${name}-restored`),
  }
}

function common(host: TestHost, name: Program['name'], { transport, settings }: HostSite): object {
  return {
    'log-level-file': 'off',
    'log-path': join(host.dir, 'log'),
    'lock-path': join(host.dir, 'lock'),
    'spool-path': join(host.dir, 'spool'),
    'cmd-ssh': join(host.dir, 'bin/ssh'),
    'process-max': settings.processMax,
    'compress-type': settings.codec,
    'compress-level': settings.level,
    ...transport.ownOptions(name, host),
  }
}

function configuration(global: object, stanza: object): string {
  const lines = (values: object) => Object.entries(values).map(([option, value]) => `${option}=${String(value)}`)
  return ['[global]', ...lines(global), '[main]', ...lines(stanza), ''].join('\n')
}
