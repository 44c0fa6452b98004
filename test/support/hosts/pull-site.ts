import { HostSite, repositoryHost, startArchiving, type Options, type SiteOptions } from './host-site.ts'
import { Hosts } from './hosts.ts'

/** A cluster on one host, and a repository on another one that pulls backups; WAL is pushed. No stanza is created yet. */
export class PullSite extends HostSite {
  #options: SiteOptions = {}

  static async start(options: SiteOptions = {}): Promise<PullSite> {
    const hosts = await Hosts.start(options)
    const site = new PullSite(hosts, await startArchiving(hosts, options.cluster))
    site.#options = options
    site.configure()
    return site
  }

  /** @param more options of the section of the repository host. */
  configure(more: Options = {}): void {
    const { hosts, cluster, postgres, repository } = this
    const path = this.#options.repository?.['repo1-path'] ?? `${repository.dir}/repo`
    postgres.configure({
      global: { ...repositoryHost(hosts), 'repo1-path': path, ...this.#options.postgres },
      main: cluster.pgOptions(),
    })
    repository.configure({
      global: {
        'repo1-path': path,
        'repo1-retention-full': '9',
        'start-fast': 'y',
        'cmd-ssh': `${repository.dir}/bin/ssh`,
        ...this.#options.repository,
      },
      main: {
        'pg1-host': 'pg-host',
        'pg1-host-user': postgres.user.name,
        'pg1-host-cmd': `${postgres.dir}/bin/pgts`,
        ...cluster.pgOptions(),
        ...more,
      },
    })
  }
}
