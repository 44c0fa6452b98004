import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serverBinaries } from '../postgres/postgres.ts'
import { describeRun, giveToTestUser, makeTestDir, pgtsProgram, runAs, testUser } from '../processes/test-user.ts'
import { shellBlocks } from './doc-blocks.ts'

export interface HostOptions {
  /** Default: a repository of its own. */
  readonly repo?: string
  /** Settings of postgresql.conf. */
  readonly conf?: Readonly<Record<string, string>>
}

/**
 * A host as the guide describes it: a server that `systemctl` starts and stops, `psql` and `pgts` with their settings in the
 * environment, and the paths of the guide, which lead into a directory of the test.
 */
export class Host implements AsyncDisposable {
  /** Replaced in commands before they are run. */
  readonly paths: Record<string, string>
  readonly #env: Record<string, string>

  private constructor(
    readonly dir: string,
    readonly repo: string,
    readonly conf: Readonly<Record<string, string>>,
  ) {
    this.paths = { '/var/lib/postgresql/15/main': this.dataDir, '/srv/copy': join(dir, 'copy') }
    this.#env = {
      PATH: [join(dir, 'bin'), '/usr/local/bin:/usr/bin:/bin', join(process.execPath, '..')].join(':'),
      PGHOST: join(dir, 'run'),
      PGUSER: 'postgres',
      PGDATABASE: 'postgres',
      PGTS_CONFIG: this.config,
    }
  }

  get dataDir(): string {
    return join(this.dir, 'data')
  }

  get config(): string {
    return join(this.dir, 'pgts.yaml')
  }

  /** A host without a cluster. */
  static async create(options: HostOptions = {}): Promise<Host> {
    const dir = makeTestDir('host')
    const host = new Host(dir, options.repo ?? join(dir, 'repo'), options.conf ?? {})
    for (const name of ['bin', 'run', 'repo', 'log', 'lock', 'spool']) mkdirSync(join(dir, name))
    host.configure()
    const binaries = serverBinaries(15)
    symlinkSync(pgtsProgram(), join(dir, 'bin/pgts'))
    for (const name of ['pg_ctl', 'initdb']) symlinkSync(join(binaries, name), join(dir, 'bin', name))
    host.#write('bin/sudo', '#!/bin/sh\nexec "$@"\n')
    // The socket as an option: a backup of another host brings its postgresql.conf along.
    host.#write(
      'bin/systemctl',
      `#!/bin/sh\n[ "$2" = postgresql ] &&\n` +
        `  exec '${binaries}/pg_ctl' -D '${host.dataDir}' -l '${dir}/server.log' -o "-k '${dir}/run'" -t 120 -w "$1" >/dev/null\n`,
    )
    giveToTestUser(dir)
    return host
  }

  /** A host with a running server that archives; its repository has no stanza yet. */
  static async withServer(options: HostOptions = {}): Promise<Host> {
    const host = await Host.create(options)
    await host.ok(`initdb -D '${host.dataDir}' -U postgres -A trust -k --no-sync --wal-segsize=1 >/dev/null`)
    await host.addSettings()
    await host.ok('sudo systemctl start postgresql')
    return host
  }

  /** Write the configuration of pgts; `more` are lines of the repository. */
  configure(more = ''): void {
    const { dir } = this
    const paths = ['log', 'lock', 'spool'].map((name) => `  ${name}-path: ${dir}/${name}\n`).join('')
    writeFileSync(
      this.config,
      `global:\n  repo: [{ path: ${this.repo}, retention-full: 2${more} }]\n${paths}  archive-timeout: 30s\n` +
        '  process-max: 2\n  backup: { start-fast: true }\n' +
        `stanza:\n  main:\n    pg: [{ path: ${this.dataDir}, socket-path: ${dir}/run, user: postgres }]\n`,
      { mode: 0o640 },
    )
    giveToTestUser(this.config)
  }

  async addSettings(): Promise<void> {
    const settings = {
      listen_addresses: '',
      unix_socket_directories: join(this.dir, 'run'),
      fsync: 'off',
      shared_buffers: '16MB',
      max_connections: '30',
      archive_mode: 'on',
      archive_command: `PGTS_CONFIG=${this.config} ${this.dir}/bin/pgts --stanza=main archive-push %p`,
      ...this.conf,
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`)
    await this.ok(`cat >>'${this.dataDir}/postgresql.conf' <<'END'\n${lines.join('')}END`)
  }

  /** Run commands as an operator types them. @returns standard output */
  async ok(script: string): Promise<string> {
    const text = Object.entries(this.paths).reduce((whole, [from, to]) => whole.replaceAll(from, to), script)
    const run = await runAs(testUser, 'sh', ['-ec', text], { cwd: this.dir, env: this.#env, deadlineMs: 60_000 })
    if (run.code !== 0) throw new Error(describeRun('sh', ['-ec', text], run))
    return run.stdout
  }

  async sql(query: string): Promise<string> {
    return (await this.ok(`psql -v ON_ERROR_STOP=1 -qAt <<'END'\n${query};\nEND`)).trim()
  }

  /** End the current segment and wait until it is archived. */
  async archive(): Promise<void> {
    await this.ok(
      `wal=$(psql -Atqc "select pg_create_restore_point('x')" -c 'select pg_walfile_name(pg_switch_wal())' | tail -1)\n` +
        `until [ "$(psql -Atc "select last_archived_wal >= '$wal' from pg_stat_archiver")" = t ]; do sleep 0.2; done`,
    )
  }

  /** A power cut. */
  async crash(): Promise<void> {
    await this.ok(`pg_ctl -D '${this.dataDir}' -m immediate stop >/dev/null`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ok(
      `for d in '${this.dataDir}' '${this.dir}/copy'; do pg_ctl -D "$d" -m immediate stop || true; done >/dev/null 2>&1`,
    )
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.dir, name), text)
    chmodSync(join(this.dir, name), 0o755)
  }
}

/** The commands of a runbook, one text for each step. */
export function runbook(section: string, file = 'docs/guide/runbooks.md'): string[] {
  return shellBlocks(file, section)
}
