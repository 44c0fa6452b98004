import type { RepoSettings, Site } from '../../core/doctor/facts.ts'
import { shellWord } from '../../core/init/restart.ts'
import type { CommandName } from '../../config/resolve.ts'
import type { CommandContext } from '../context.ts'
import { hasProgram, type Owner } from '../init/owner.ts'

type Context = CommandContext<'doctor'>

/** What the configuration says about the stanza, and how commands for it are written. */
export function describeSite(ctx: Context, owner: Owner | undefined): Site {
  const { clock, options, stanza } = ctx
  const pg = options.pg[0]
  const isRoot = process.geteuid?.() === 0
  // Backups belong to the user of the server.
  const user = isRoot && owner !== undefined && owner.uid !== 0 ? `runuser -u ${owner.name} -- ` : ''
  return {
    stanza,
    nowMs: clock.nowMs(),
    pgts: (command, ...more) => user + pgtsCommand(ctx, command, more),
    psql: (sql) => user + onHostOf(pg, psqlCommand(pg, sql)),
    onClusterHost: (command) => onHostOf(pg, command),
    root: (...words) => `${isRoot ? '' : 'sudo '}${words.map(shellWord).join(' ')}`,
    ...(pg?.path === undefined ? {} : { pgPath: pg.path }),
    ...(pg?.host === undefined ? {} : { pgHost: pg.host }),
    spoolPath: options.spoolPath,
    lockPath: options.lockPath,
    archiveAsync: options.archiveAsync,
    repos: options.repo
      .filter(({ key }) => options.repoKey === undefined || key === options.repoKey)
      .map((repo) => repoSettings(repo)),
    promised: {
      ...(options.doctorBackupAge === undefined ? {} : { backupAgeMs: options.doctorBackupAge }),
      ...(options.doctorWindow === undefined ? {} : { windowMs: options.doctorWindow }),
      verifyAgeMs: options.doctorVerifyAge,
      drillAgeMs: options.doctorDrillAge,
    },
  }
}

function repoSettings(repo: Context['options']['repo'][number]): RepoSettings {
  const { retentionDaily, retentionWeekly, retentionMonthly, retentionYearly } = repo
  const calendar = [retentionDaily, retentionWeekly, retentionMonthly, retentionYearly]
  return {
    key: repo.key,
    // Its own host examines the disk and the configuration.
    type: repo.host === undefined ? repo.type : 'remote',
    path: repo.path,
    encrypted: repo.cipherType !== 'none' || repo.host !== undefined,
    verifyTls: repo.storageVerifyTls !== false,
    ...(repo.storageCaFile === undefined ? {} : { caFile: repo.storageCaFile }),
    retention: {
      ...(repo.retentionFull === undefined ? {} : { full: repo.retentionFull }),
      fullType: repo.retentionFullType,
      calendar: calendar.some((value) => value !== undefined),
    },
  }
}

/** Options of this run that another command does not need. */
const OWN_OPTIONS = /^--(?:repo|output|log-level-\w+)=/

function pgtsCommand(ctx: Context, command: string, more: readonly string[]): string {
  const { env, program, stanza } = ctx
  const name = hasProgram('pgts', env['PATH']) ? 'pgts' : program
  const given = ctx.commandLineFor(command as CommandName).filter((word) => !OWN_OPTIONS.test(word))
  const named = given.some((word) => word.startsWith('--stanza=')) ? given : [`--stanza=${stanza}`, ...given]
  return [name, ...named, ...more, command].map(shellWord).join(' ')
}

/** A command for the host of the cluster. */
function onHostOf(pg: Context['options']['pg'][number] | undefined, command: string): string {
  if (pg?.host === undefined) return command
  const place = pg.hostUser === undefined ? pg.host : `${pg.hostUser}@${pg.host}`
  return ['ssh', place, command].map(shellWord).join(' ')
}

function psqlCommand(pg: Context['options']['pg'][number] | undefined, sql: string): string {
  const place = [
    ...(pg?.socketPath === undefined ? [] : ['-h', pg.socketPath]),
    ...(pg?.port === undefined || pg.port === 5432 ? [] : ['-p', String(pg.port)]),
    ...(pg?.user === undefined ? [] : ['-U', pg.user]),
    ...['-d', pg?.database ?? 'postgres'],
  ]
  return ['psql', ...place, '-c', sql].map(shellWord).join(' ')
}
