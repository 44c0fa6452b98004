import { HostSite, repositoryHost, startArchiving, type SiteOptions } from './host-site.ts'
import { Hosts } from './hosts.ts'

export const PASSPHRASE = 'only the repository host knows this'

/** A cluster on its own host that archives to, and is backed up to, an encrypted repository on another host, over sshd. */
export class PushSite extends HostSite {
  static async start(options: SiteOptions = {}): Promise<PushSite> {
    const hosts = await Hosts.start(options)
    const { conf, ...cluster } = options.cluster ?? {}
    const site = new PushSite(hosts, await startArchiving(hosts, { ...cluster, conf: { fsync: 'off', ...conf } }))
    site.configure(options)
    return site
  }

  /** The two configurations, with these options more. */
  configure({ postgres = {}, repository = {} }: Pick<SiteOptions, 'postgres' | 'repository'>): void {
    const main = this.cluster.pgOptions()
    this.repository.configure({
      global: {
        'repo1-path': `${this.repository.dir}/repo`,
        'repo1-cipher-type': 'aes-256-cbc',
        'repo1-cipher-pass': PASSPHRASE,
        ...repository,
      },
      main,
    })
    this.postgres.configure({
      global: {
        ...repositoryHost(this.hosts),
        'repo1-retention-full': '2',
        'archive-timeout': '60s',
        'start-fast': 'y',
        ...postgres,
      },
      main,
    })
  }
}
