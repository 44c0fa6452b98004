import {
  checkDatabases,
  checkRelations,
  checkStatement,
  databasesOf,
  timed,
  type CheckRequest,
} from '../../core/drill/checks.ts'
import { checkPages } from '../../core/drill/pages.ts'
import type { DrillCheck } from '../../core/drill/record.ts'
import { refuseForeign, type Scratch } from '../../core/drill/scratch.ts'
import { DrillServer } from '../../core/drill/server.ts'
import { DRILL_HBA, drillConfiguration } from '../../core/drill/settings.ts'
import type { SqlStatement } from '../../core/drill/statements.ts'
import { recoverySettings, RECOVERY_SETTINGS_SINCE } from '../../core/restore/recovery.ts'
import { statEntry, writeSmallFile, type OwnerIds } from '../../core/restore/file-system.ts'
import { parseLsn } from '../../format/wal-segment.ts'
import { readControlFile, type ControlFile } from '../../postgres/control-file.ts'
import { openClusterFiles } from '../../postgres/registry.ts'
import { clusterIn } from '../../postgres/discover/find-clusters.ts'
import { systemUserName } from '../../postgres/libpq/settings.ts'
import { bytes, decodeUtf8, textToBytes } from '../../util/byte-string.ts'
import { isPgtsError, PgtsError, type ErrorCode } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { restoreCluster } from '../restore.ts'
import { majorOf } from '../restore/archive.ts'
import type { Selected } from '../restore/choose.ts'
import type { PreparedRestore } from '../restore/prepare.ts'
import { serverProgramsOf } from '../shared/server-programs.ts'
import { DrillProblems } from './restoring.ts'

/** What a drill found so far. */
export interface DrillFacts {
  postgres?: string
  readonly durations: { restoreMs?: number; recoveryMs?: number; checksMs?: number }
  restoredBytes?: number
  restoredFiles?: number
  replayedBytes?: number
  replayLsn?: string
  lastCommitMs?: number
  readonly checks: DrillCheck[]
  /** The error that ended the drill proves that the backup is at fault. */
  isBackupAtFault?: boolean
}

export interface Rehearsal {
  readonly ctx: CommandContext<'drill'>
  /** The context of the restore. */
  readonly restoring: CommandContext<'restore'>
  readonly selected: Selected
  readonly scratch: Scratch
  readonly statements: readonly SqlStatement[]
  readonly startedMs: number
  readonly facts: DrillFacts
}

/** Restores, recovers and checks. The server is stopped when this returns or throws. */
export async function rehearse(rehearsal: Rehearsal): Promise<void> {
  const { ctx, scratch, startedMs, facts } = rehearsal
  const { clock, signal, env, options, progress } = ctx
  const programs = programsFor(rehearsal)
  const prepared = await restoreBeside(rehearsal)
  facts.durations.restoreMs = clock.nowMs() - startedMs
  const control = await controlOf(rehearsal)
  const owner = ownerOf(scratch)
  configure(rehearsal, prepared, control, owner)

  const recoveryStartMs = clock.nowMs()
  progress.phase('recovering')
  await using server = await DrillServer.start({
    ...{ places: scratch, programs, owner, env, clock, signal },
    database: options.pg[0]?.database ?? 'postgres',
    timeoutMs: options.dbTimeout,
  })
  const user = await recovered(rehearsal, server)
  facts.durations.recoveryMs = clock.nowMs() - recoveryStartMs
  await readPosition(rehearsal, server, user)

  const checksStartMs = clock.nowMs()
  const databases = await databasesOf(server, user)
  const around = { programs, owner, env, clock, signal }
  await checkServer(rehearsal, { server, socket: scratch.socket, user, databases, ...around })
  await server.stop()
  progress.phase('checking pages', facts.restoredBytes)
  const pages = await timed('pages', clock, async () =>
    checkPages({
      ...around,
      control: await controlOf(rehearsal),
      data: scratch.data,
      done: (sum) => progress.done(sum),
    }),
  )
  facts.checks.push(pages)
  facts.durations.checksMs = clock.nowMs() - checksStartMs
}

/** Errors of the repository's files: with any of them the backup cannot be restored. */
const FAULTS: readonly ErrorCode[] = ['checksum', 'crypto', 'file-missing', 'file-read', 'format']

async function restoreBeside({ ctx, restoring, selected, scratch, facts }: Rehearsal): Promise<PreparedRestore> {
  const options = { ...restoring.options, set: selected.entry.label }
  const problems = new DrillProblems({ ...restoring, options })
  let prepared: PreparedRestore | undefined
  try {
    const report = await restoreCluster(
      { ...restoring, options },
      {
        problems,
        beforeChanges: (plan) => {
          prepared = plan
          // Production can be on this host without being in the configuration.
          const foreign = plan.original.targets
            .map(({ path }) => decodeUtf8(path))
            .filter((path) => path.startsWith('/'))
          refuseForeign({ directory: scratch.directory, foreign })
        },
        progress: () => undefined,
      },
    )
    facts.restoredBytes = report.restoredBytes
    facts.restoredFiles = report.files
  } catch (error) {
    ctx.signal.throwIfAborted()
    facts.isBackupAtFault = problems.isBackupAtFault || FAULTS.some((code) => isPgtsError(error, code))
    throw error
  }
  return prepared!
}

async function controlOf({ scratch, ctx }: Rehearsal): Promise<ControlFile> {
  return readControlFile(
    await openClusterFiles({ kind: 'local', versionForce: ctx.options.pgVersionForce }),
    textToBytes(scratch.data),
    { signal: ctx.signal },
  )
}

/** A server does not run as root: it runs as the owner of the restored files. Errors: [089] */
function ownerOf(scratch: Scratch): OwnerIds | undefined {
  if (process.geteuid?.() !== 0) return undefined
  const entry = statEntry(textToBytes(scratch.data))
  if (entry !== undefined && entry.uid !== 0) return { uid: entry.uid, gid: entry.gid }
  throw new PgtsError('user-missing', 'the restored files belong to root, and PostgreSQL does not run as root', {
    hints: ['run the drill as the user that owns the cluster, for example: sudo -u postgres pgts drill'],
  })
}

/** The configuration of the drill; that of the backup is not read. */
function configure(
  { scratch }: Rehearsal,
  { policy, major }: PreparedRestore,
  control: ControlFile,
  owner: OwnerIds | undefined,
): void {
  const directory = textToBytes(scratch.directory)
  const modern = major >= RECOVERY_SETTINGS_SINCE
  const recovery = modern ? recoverySettings(policy, major) : new Map()
  const files = new Map([
    [bytes`${directory}/postgresql.conf`, drillConfiguration(control, scratch, recovery)],
    [bytes`${directory}/pg_hba.conf`, DRILL_HBA],
    [bytes`${directory}/pg_ident.conf`, ''],
    [bytes`${textToBytes(scratch.data)}/postgresql.auto.conf`, ''],
  ])
  for (const [path, text] of files) writeSmallFile(path, Buffer.from(text, 'latin1'), 0o600, owner)
  if (owner === undefined) return
  writeSmallFile(textToBytes(scratch.log), Buffer.alloc(0), 0o600, owner)
  scratch.giveTo(owner)
}

async function recovered({ ctx, facts }: Rehearsal, server: DrillServer): Promise<string> {
  const { user } = ctx.options.pg[0] ?? {}
  try {
    return await server.untilTarget(user === undefined ? [...new Set([systemUserName(), 'postgres'])] : [user])
  } catch (error) {
    ctx.signal.throwIfAborted()
    facts.isBackupAtFault = isPgtsError(error, 'db-invalid')
    throw error
  }
}

async function readPosition({ facts, selected }: Rehearsal, server: DrillServer, user: string): Promise<void> {
  await using connection = await server.connect(user)
  const [row] = await connection.query<{ version: string; lsn: string | null; commit: string | null }>(
    `select pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) as version,
            pg_catalog.pg_last_wal_replay_lsn()::text as lsn,
            (extract(epoch from pg_catalog.pg_last_xact_replay_timestamp()) * 1000)::bigint::text as commit`,
  )
  facts.postgres = row?.version
  const { lsnStart } = selected.entry
  if (row?.lsn != null) {
    facts.replayLsn = row.lsn
    if (lsnStart !== undefined) facts.replayedBytes = Math.max(0, Number(parseLsn(row.lsn) - parseLsn(lsnStart)))
  }
  if (row?.commit != null) facts.lastCommitMs = Number(row.commit)
}

/** The checks that need the server. */
async function checkServer({ ctx, statements, facts }: Rehearsal, request: CheckRequest): Promise<void> {
  const { clock, log, progress } = ctx
  progress.phase('checking databases')
  const found = await timed('databases', clock, () => checkDatabases(request))
  if (found.result === 'warning') log.warn(`drill: ${found.detail ?? ''}`)
  facts.checks.push(found)
  progress.phase('checking tables and indexes')
  facts.checks.push(await timed('amcheck', clock, () => checkRelations(request)))
  if (statements.length > 0) progress.phase('running statements')
  for (const statement of statements)
    facts.checks.push(await timed('sql', clock, () => checkStatement(request, statement)))
}

/** The directory of the programs of the server. Errors: [055] */
function programsFor({ ctx: { options, env }, selected: { info, entry } }: Rehearsal): string {
  const cluster = info.history.find(({ id }) => id === entry.historyId)
  if (cluster === undefined) throw new PgtsError('format', `backup.info has no cluster of backup ${entry.label}`)
  const [pg] = options.pg
  return serverProgramsOf(majorOf(cluster), {
    given: options.binaries,
    running: pg?.path === undefined ? undefined : clusterIn(pg.path)?.postmaster?.binDirectory,
    path: env['PATH'],
  })
}
