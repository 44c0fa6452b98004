import { bytesToRead, copyAll, type CopyRun } from '../../core/backup/copy-all.ts'
import { saveManifestCopy } from '../../core/manifest-store.ts'
import { refusePageErrors } from '../../core/backup/page-errors.ts'
import type { jobHandlers } from '../../core/jobs.ts'
import type { ManifestFile } from '../../format/manifest.ts'
import type { Executor } from '../../worker/executor.ts'
import { markHandled } from '../../util/mark-handled.ts'
import type { StanzaLock } from '../context.ts'
import { isOnStandby, type BackupRun } from './begin.ts'
import { warnOfDamagedPages } from './damaged-pages.ts'
import type { PlannedBackup } from './plan.ts'
import { watchServers } from './watch.ts'

type CopyExecutor = Executor<typeof jobHandlers>

/** The workers of a backup. */
export interface CopyExecutors extends AsyncDisposable {
  /** They read the standby if there is one. */
  readonly data: CopyExecutor
  /** Beside a standby: one worker that reads the primary, in addition to process-max. */
  readonly primary?: CopyExecutor
}

export async function openExecutors({ ctx, repository, source }: BackupRun): Promise<CopyExecutors> {
  const { cluster, standby } = source
  const data = await ctx.executor([repository], { cluster: standby?.cluster ?? cluster })
  const primary = standby === undefined ? undefined : await ctx.executor([repository], { cluster, most: 1 })
  return {
    data,
    primary,
    async [Symbol.asyncDispose]() {
      await Promise.all([data[Symbol.asyncDispose](), primary?.[Symbol.asyncDispose]()])
    },
  }
}

/** Copy every planned file and record it in the draft. @returns the files with damaged pages */
export async function copy(
  run: BackupRun,
  { backup, files, policy, draft, listedAt }: PlannedBackup,
  executors: CopyExecutors,
  lock: StanzaLock,
): Promise<readonly ManifestFile[]> {
  const { ctx, repository, source, server, started } = run
  const { storage, key } = repository
  const manifestKey = source.backupInfo
  const nextSecond = listedAt.nextSecond(ctx.signal)
  markHandled(nextSecond)
  // Until the manifest itself is written, only its copy exists: no command takes this for a usable backup.
  await saveManifestCopy(storage, ctx.stanza, draft.partial(), manifestKey)
  ctx.progress.phase('copying', bytesToRead(files))
  const servers = [server, source.standby?.server].filter((one) => one !== undefined)
  await using watch = watchServers(servers, ctx.clock, ctx.signal)
  await copyAll(
    {
      storage,
      backup,
      manifestKey,
      files,
      policy,
      stages: stagesOf(run, executors),
      settledBefore: hasTimesOfStandby(run) ? -Infinity : listedAt.settledBefore,
      nextSecond,
      saveThresholdBytes: ctx.options.manifestSaveThreshold,
      check: ctx.options.checksumPageError ? refusePageErrors : undefined,
      log: ctx.log,
      signal: watch.signal,
      progress: (progress) => lock.update(progress, key),
      copied: (doneBytes) => ctx.progress.done(doneBytes),
    },
    draft,
  )
  const damaged = draft.damaged()
  await warnOfDamagedPages(ctx, source.cluster, damaged, started?.databases ?? [])
  return damaged
}

/**
 * Beside a standby the primary is only read for what the standby may lack: configuration, pg_control, and other small files.
 * A backup on a standby copies pg_control last, because its minimum recovery point must cover all other files.
 *
 * @see PostgreSQL, "Making a Base Backup Using the Low Level API", backups of a standby
 */
function stagesOf(run: BackupRun, { data, primary }: CopyExecutors): readonly (readonly CopyRun[])[] {
  const { cluster, standby } = run.source
  const { pgPath } = cluster
  if (standby !== undefined && primary !== undefined) {
    return [
      [
        { executor: primary, pgPath, includes: ({ sizeLimited }) => !sizeLimited },
        { executor: data, pgPath: standby.cluster.pgPath, includes: ({ sizeLimited }) => sizeLimited },
      ],
    ]
  }
  if (!isOnStandby(run)) return [[{ executor: data, pgPath, includes: () => true }]]
  return [false, true].map((isLast) => [
    { executor: data, pgPath, includes: ({ name }) => (name === CONTROL_FILE) === isLast },
  ])
}

/** What is read was changed at other times than those of the list. */
function hasTimesOfStandby(run: BackupRun): boolean {
  return run.source.standby !== undefined || isOnStandby(run)
}

const CONTROL_FILE = 'pg_data/global/pg_control'
