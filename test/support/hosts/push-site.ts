import { startCluster, type Cluster, type ServerVersion } from '../postgres/postgres.ts'
import { Hosts, type HostsOptions, type TestHost } from './hosts.ts'

export const PASSPHRASE = 'only the repository host knows this'

export interface PushSiteOptions extends HostsOptions {
  readonly version?: ServerVersion
  /** More options of the two hosts. */
  readonly postgres?: Readonly<Record<string, string>>
  readonly repository?: Readonly<Record<string, string>>
}

/** A cluster on its own host that archives to, and is backed up to, an encrypted repository on another host, over sshd. */
export class PushSite implements AsyncDisposable {
  private constructor(
    readonly hosts: Hosts,
    readonly cluster: Cluster,
  ) {}

  static async start({ version, postgres = {}, repository = {}, ...rest }: PushSiteOptions = {}): Promise<PushSite> {
    const hosts = await Hosts.start(rest)
    const { dir, env, configFile } = hosts.postgres
    const cluster = await startCluster({
      version,
      conf: {
        archive_mode: 'on',
        archive_command: `PATH=${env['PATH']} ${dir}/bin/pgts --config=${configFile} --stanza=main archive-push %p`,
        fsync: 'off',
      },
    })
    const site = new PushSite(hosts, cluster)
    site.configure({ postgres, repository })
    return site
  }

  /** The two configurations, with these options more. */
  configure({ postgres = {}, repository = {} }: Pick<PushSiteOptions, 'postgres' | 'repository'>): void {
    this.repository.configure({
      global: {
        'repo1-path': `${this.repository.dir}/repo`,
        'repo1-cipher-type': 'aes-256-cbc',
        'repo1-cipher-pass': PASSPHRASE,
        ...repository,
      },
      main: this.cluster.pgOptions(),
    })
    this.postgres.configure({
      global: {
        'cmd-ssh': `${this.postgres.dir}/bin/ssh`,
        'repo1-host': 'repo-host',
        'repo1-host-user': this.repository.user.name,
        'repo1-host-cmd': `${this.repository.dir}/bin/pgts`,
        'repo1-retention-full': '2',
        'archive-timeout': '60s',
        'start-fast': 'y',
        ...postgres,
      },
      main: this.cluster.pgOptions(),
    })
  }

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
