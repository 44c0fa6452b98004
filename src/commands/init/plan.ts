import type { ConfigChange, NewSetting } from '../../config/change/change.ts'
import type { ConfigFile } from '../../config/change/config-file.ts'
import type { Archiver } from '../../core/init/archiver.ts'
import { serverChanges, type SettingChange } from '../../core/init/server-changes.ts'
import { restartCommand, type RestartCommand } from '../../core/init/restart.ts'
import { readServerEnvironment } from '../../core/archive/status/archive-program.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { chooseCluster, type RunningCluster } from './choose-cluster.ts'
import { inspectDirectories, type NeededDirectory } from './directories.ts'
import { GivenOptions } from './given.ts'
import { asOwner, hasProgram, ownerOf, requireOwnerOrRoot, type Owner } from './owner.ts'
import type { InitPorts } from './ports.ts'
import type { Questions } from './questions.ts'
import type { Purpose } from './report.ts'
import { askRepository, type ProposedRepository } from './repository.ts'
import { archiveCommandOf, archiverOf, inspectServer, withNode, type InspectedServer } from './server.ts'

/** Everything that init found, and the answers, before anything is changed. */
export interface Plan {
  readonly cluster: RunningCluster
  readonly owner: Owner
  readonly server: InspectedServer
  readonly stanza: string
  readonly config: ConfigFile
  /** undefined: the file has the stanza already. */
  readonly change?: ConfigChange
  readonly differences: readonly string[]
  /** undefined: the file has a repository. */
  readonly repository?: ProposedRepository
  readonly directories: readonly NeededDirectory[]
  readonly archiver: Archiver
  readonly archiveCommand: string
  readonly changes: readonly SettingChange[]
  readonly restart: RestartCommand
  /** `--config=FILE`, unless pgts reads that file by default. */
  readonly configArguments: readonly string[]
}

export async function makePlan(
  ctx: CommandContext<'init'>,
  { dialogue, openConfig }: InitPorts,
  questions: Questions,
): Promise<Plan> {
  const config = await openConfig()
  const cluster = await chooseCluster(ctx, dialogue, questions)
  const owner = ownerOf(cluster)
  requireOwnerOrRoot(owner, cluster.dataDirectory)
  const server = await inspectServer(ctx, cluster, owner)
  dialogue.say(
    `PostgreSQL ${cluster.version} in ${server.dataDirectory}`,
    `  port ${server.port}, user ${owner.name}, configuration ${server.configuration.configFile}`,
  )
  const stanza = await chooseStanza(ctx, questions, config, server)
  const repository = config.hasRepository(stanza)
    ? undefined
    : await askRepository(ctx, questions, new GivenOptions(ctx))
  const configArguments = ctx.isSet('config') ? [`--config=${config.path}`] : []
  const { archiver, archiveCommand } = await archiving(ctx, { cluster, owner, server, stanza, config })
  const replace =
    archiver.kind === 'foreign' &&
    (await questions.consent({
      flag: '--replace-archive-command',
      text: foreignText(archiver, (lines) => dialogue.say(...lines)),
      given: ctx.isSet('replace-archive-command') ? ctx.options.replaceArchiveCommand : undefined,
      proposal: false,
    }))
  return {
    cluster,
    owner,
    server,
    stanza,
    config,
    change:
      config.stanzas.includes(stanza) && repository === undefined
        ? undefined
        : changeOf(ctx, { config, server, stanza, repository }),
    differences: differencesOf(ctx, config, stanza, server),
    repository,
    directories: await inspectDirectories(owner, neededDirectories(ctx, config, stanza, repository)),
    archiver,
    archiveCommand,
    changes: serverChanges(server.configuration.settings, archiver, { archiveCommand, replace }),
    restart: restartCommand(
      { ...cluster.postmaster, dataDirectory: server.dataDirectory, configFile: server.configuration.configFile },
      (program) => hasProgram(program, ctx.env['PATH']),
    ),
    configArguments,
  }
}

/** The stanza of the file that has this cluster, else the name that is given or chosen. */
async function chooseStanza(
  ctx: CommandContext<'init'>,
  questions: Questions,
  config: ConfigFile,
  server: InspectedServer,
): Promise<string> {
  const isOther = (name: string) => {
    const path = config.valueOf('pg1-path', name)
    return path !== undefined && path !== server.dataDirectory
  }
  const known = config.stanzas.find((name) => config.valueOf('pg1-path', name) === server.dataDirectory)
  const debian = /^\/etc\/postgresql\/[^/]+\/([\w-]+)\//.exec(server.configuration.configFile)?.[1]
  const free = [debian ?? 'main', `pg${server.port}`].find((name) => !isOther(name))
  const stanza = await questions.text({
    flag: '--stanza',
    text: 'Name of the stanza: the cluster in configuration and repository',
    given: ctx.stanza === '' ? known : ctx.stanza,
    proposal: free,
    problem: (typed) =>
      /^[A-Za-z0-9_][\w.-]*$/.test(typed) && typed !== 'global' ? undefined : 'use letters, digits, - and _',
  })
  if (!isOther(stanza)) return stanza
  throw new PgtsError(
    'db-mismatch',
    `stanza ${stanza} in ${config.path} is ${config.valueOf('pg1-path', stanza)}, not ${server.dataDirectory}`,
    { hints: ['choose another name: --stanza=NAME', 'or correct pg1-path of the stanza, if the cluster was moved'] },
  )
}

async function archiving(
  ctx: CommandContext<'init'>,
  { cluster, owner, server, stanza, config }: Pick<Plan, 'cluster' | 'owner' | 'server' | 'stanza' | 'config'>,
): Promise<{ archiver: Archiver; archiveCommand: string }> {
  const path = ctx.isSet('config') ? config.path : undefined
  const command = await asOwner(owner, async () =>
    withNode(
      { program: ctx.program, stanza, config: path },
      server.dataDirectory,
      readServerEnvironment(cluster.postmaster.pid),
    ),
  )
  const archiveCommand = archiveCommandOf(command)
  const wanted = { command: archiveCommand, stanza, config: path, shared: config.dialect === 'ini' }
  return { archiver: archiverOf(server.configuration, wanted), archiveCommand }
}

/** Shows what archives now; returns the question. */
function foreignText(archiver: Archiver & { kind: 'foreign' }, say: (lines: readonly string[]) => void): string {
  const { program, command, meaning } = archiver
  say([`The server archives with ${program}:`, `  ${command}`, 'If pgts replaces it:', ...wrapped(meaning)])
  return 'Replace it?'
}

/** Indented lines of at most 80 columns; a longer word has its own line. */
function wrapped(text: string): string[] {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line === '') lines[lines.length - 1] = `  ${word}`
    else if (line.length + 1 + word.length <= 80) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(`  ${word}`)
  }
  return lines
}

function changeOf(
  ctx: CommandContext<'init'>,
  { config, server, stanza, repository }: Pick<Plan, 'config' | 'server' | 'stanza' | 'repository'>,
): ConfigChange {
  const paths = (['log-path', 'lock-path', 'spool-path'] as const).filter(
    (name) => ctx.isSet(name) && config.valueOf(name) === undefined,
  )
  const values = {
    'log-path': ctx.options.logPath,
    'lock-path': ctx.options.lockPath,
    'spool-path': ctx.options.spoolPath,
  }
  const pg = ctx.options.pg[0]
  // The usual directories are searched anyway.
  const socket = ['/var/run/postgresql', '/run/postgresql', '/tmp'].includes(server.socketDirectory)
    ? ''
    : server.socketDirectory
  const ofStanza: NewSetting[] = [
    { option: 'pg-path', key: 1, value: server.dataDirectory },
    { option: 'pg-port', key: 1, value: server.port },
    ...(socket === '' ? [] : [{ option: 'pg-socket-path', key: 1, value: socket }]),
    ...(ctx.isSet('pg1-user') && pg?.user !== undefined ? [{ option: 'pg-user', key: 1, value: pg.user }] : []),
    ...(ctx.isSet('pg1-database') && pg?.database !== undefined
      ? [{ option: 'pg-database', key: 1, value: pg.database }]
      : []),
  ]
  return {
    global: [
      ...(repository?.settings ?? []),
      ...paths.map((option) => ({ option, key: 0, value: values[option] ?? '' })),
    ],
    stanza,
    ofStanza: config.stanzas.includes(stanza) ? [] : ofStanza,
  }
}

/** What an existing file has otherwise than the server or the options of this run. */
function differencesOf(
  ctx: CommandContext<'init'>,
  config: ConfigFile,
  stanza: string,
  server: InspectedServer,
): string[] {
  if (config.text === undefined) return []
  const differs = (name: string, wanted: string | undefined, of: string) => {
    const has = config.valueOf(name, stanza)
    return has === undefined || wanted === undefined || has === wanted ? [] : [`${name} is ${has}, ${of} ${wanted}`]
  }
  const given = [...new GivenOptions(ctx).all()].filter(([rest]) => !/key|pass|token|account|endpoint/.test(rest))
  return [
    ...differs('pg1-port', String(server.port), 'the port of the server is'),
    ...given.flatMap(([rest, value]) =>
      typeof value === 'object' ? [] : differs(`repo1-${rest}`, String(value), 'this run has'),
    ),
  ]
}

const DEFAULT_LOCK_PATH = '/tmp/pgbackrest'

function neededDirectories(
  ctx: CommandContext<'init'>,
  config: ConfigFile,
  stanza: string,
  repository: ProposedRepository | undefined,
): { path: string; purpose: Purpose }[] {
  const path = (name: 'log-path' | 'lock-path' | 'spool-path', value: string) =>
    ctx.isSet(name) ? value : (config.valueOf(name, stanza) ?? value)
  const isAsync = repository?.isAsync ?? /^(y|true)$/.test(config.valueOf('archive-async', stanza) ?? '')
  const isPosix = (config.valueOf('repo1-type', stanza) ?? 'posix') === 'posix'
  const present = isPosix ? (config.valueOf('repo1-path', stanza) ?? ctx.options.repo[0]?.path) : undefined
  const directory = repository === undefined ? present : repository.directory
  const lock = path('lock-path', ctx.options.lockPath)
  const directories: { path: string; purpose: Purpose }[] = [
    { path: config.path.slice(0, config.path.lastIndexOf('/')) || '/', purpose: 'configuration' },
    ...(directory === undefined ? [] : [{ path: directory, purpose: 'repository' as const }]),
    { path: path('log-path', ctx.options.logPath), purpose: 'log' },
    // The default is below /tmp, where the first command creates it.
    ...(lock === DEFAULT_LOCK_PATH ? [] : [{ path: lock, purpose: 'lock' as const }]),
    ...(isAsync ? [{ path: path('spool-path', ctx.options.spoolPath), purpose: 'spool' as const }] : []),
  ]
  // A configured site only reads its configuration.
  return config.stanzas.includes(stanza) && repository === undefined ? directories.slice(1) : directories
}
