import { startCluster, type Cluster, type ClusterOptions } from '../postgres/postgres.ts'
import type { Hosts, HostsOptions, TestHost } from './hosts.ts'

export type Options = Readonly<Record<string, string>>

export interface SiteOptions extends HostsOptions {
  readonly cluster?: ClusterOptions
  /** More options of the two hosts, in [global]. */
  readonly postgres?: Options
  readonly repository?: Options
}

/** A cluster on one host that archives by its configuration, and a repository on another host. */
export abstract class HostSite implements AsyncDisposable {
  constructor(
    readonly hosts: Hosts,
    readonly cluster: Cluster,
  ) {}

  get postgres(): TestHost {
    return this.hosts.postgres
  }

  get repository(): TestHost {
    return this.hosts.repository
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]()
    await this.hosts[Symbol.asyncDispose]()
  }
}

export function startArchiving({ postgres }: Hosts, { conf, ...options }: ClusterOptions = {}): Promise<Cluster> {
  const { dir, env, configFile } = postgres
  const program = `PATH=${env['PATH']} ${dir}/bin/pgts --config=${configFile}`
  const archiving = { archive_mode: 'on', archive_command: `${program} --stanza=main archive-push %p` }
  return postgres.inside(() => startCluster({ ...options, conf: { ...archiving, ...conf } }))
}

/** How PostgreSQL's host reaches the repository. */
export function repositoryHost({ postgres, repository }: Hosts): Options {
  return {
    'cmd-ssh': `${postgres.dir}/bin/ssh`,
    'repo1-host': 'repo-host',
    'repo1-host-user': repository.user.name,
    'repo1-host-cmd': `${repository.dir}/bin/pgts`,
  }
}
