import { Cluster, startCluster, type ClusterOptions } from '../postgres/postgres.ts'
import { Hosts, type HostsOptions } from './hosts.ts'

export interface PullSiteOptions extends HostsOptions {
  readonly cluster?: ClusterOptions
  /** Options of the repository, for both hosts, without those of the host. */
  readonly repository?: Readonly<Record<string, string>>
  /** Options of the repository host alone. */
  readonly global?: Readonly<Record<string, string>>
}

/** A cluster on one host, and a repository on another one that pulls backups; WAL is pushed. No stanza is created yet. */
export class PullSite implements AsyncDisposable {
  private constructor(
    readonly hosts: Hosts,
    readonly cluster: Cluster,
    readonly options: PullSiteOptions,
  ) {}

  static async start(options: PullSiteOptions = {}): Promise<PullSite> {
    const hosts = await Hosts.start(options)
    const { postgres } = hosts
    const archive = `PGBACKREST_CONFIG=${postgres.configFile} ${postgres.dir}/bin/pgts --stanza=main archive-push %p`
    const conf = { archive_mode: 'on', archive_command: archive, ...options.cluster?.conf }
    const site = new PullSite(hosts, await startCluster({ ...options.cluster, conf }), options)
    site.configure()
    return site
  }

  /** @param more options of the section of the repository host. */
  configure(more: Readonly<Record<string, string>> = {}): void {
    const { hosts, cluster, options } = this
    const { postgres, repository } = hosts
    const there = {
      'repo1-host': 'repo-host',
      'repo1-host-user': repository.user.name,
      'repo1-host-cmd': `${repository.dir}/bin/pgts`,
      'cmd-ssh': `${postgres.dir}/bin/ssh`,
    }
    const local = { 'repo1-path': `${repository.dir}/repo`, 'repo1-retention-full': '9', ...options.repository }
    postgres.configure({ global: { ...there, 'repo1-path': local['repo1-path'] }, main: cluster.pgOptions() })
    repository.configure({
      global: { ...local, 'start-fast': 'y', 'cmd-ssh': `${repository.dir}/bin/ssh`, ...options.global },
      main: {
        'pg1-host': 'pg-host',
        'pg1-host-user': postgres.user.name,
        'pg1-host-cmd': `${postgres.dir}/bin/pgts`,
        ...cluster.pgOptions(),
        ...more,
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]()
    await this.hosts[Symbol.asyncDispose]()
  }
}
