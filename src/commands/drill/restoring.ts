import { randomInt } from 'node:crypto'
import type { Finding } from '../../core/restore/reachable.ts'
import type { ScratchPlaces } from '../../core/drill/scratch.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import type { CommandContext } from '../context.ts'
import { readBackups, selectBackup, type Selected } from '../restore/choose.ts'
import { requestedSet } from '../restore/options.ts'
import { Problems, type FindingKind } from '../restore/problems.ts'

/**
 * The context of the restore: another data directory, all tablespaces below the drill, links restored in place, and a restore_command that
 * changes nothing of production.
 */
export function restoringContext(ctx: CommandContext<'drill'>, places: ScratchPlaces): CommandContext<'restore'> {
  const { options } = ctx
  return {
    ...ctx,
    command: 'restore',
    log: quiet(ctx.log),
    progress: { ...progressOf(ctx), plan: async () => undefined },
    options: {
      ...options,
      pg: [{ ...options.pg[0], key: 1, path: places.data, host: undefined }],
      archiveMode: 'preserve',
      // The drill checks the pages itself.
      checksumPageError: false,
      dbExclude: undefined,
      dbInclude: undefined,
      delta: false,
      dryRun: false,
      force: false,
      linkAll: false,
      linkMap: undefined,
      output: 'text',
      restoreCheck: true,
      // The spool is that of production.
      spoolPath: '',
      tablespaceMap: undefined,
      tablespaceMapAll: places.tablespaces,
      targetAction: 'pause',
    } as unknown as CommandContext<'restore'>['options'],
    // An offline backup recovers to its end as well: without a type it would start as a primary.
    isSet: (option) => option === 'type' || (option !== 'archive-mode' && ctx.isSet(option)),
    commandLineFor: () => [
      ...ctx.commandLineFor('archive-get').filter((word) => !OVERRIDDEN.test(word)),
      '--no-archive-async',
      '--no-archive-resident',
      '--pg1-local',
      `--pg1-path=${places.data}`,
    ],
  }
}

const OVERRIDDEN =
  /^--(?:no-|reset-)?(?:archive-async|archive-resident|pg1-path|pg1-host|pg1-local|log-level-file)(?:=|$)/

function progressOf({ progress }: CommandContext<'drill'>) {
  return { phase: progress.phase.bind(progress), done: progress.done.bind(progress) }
}

/** What a restore reports to an operator is detail of a drill. */
function quiet(log: Logger): Logger {
  return { ...log, enabled: (level) => log.enabled(level), warn: log.info, info: log.detail }
}

/** Remembers which finding refused the restore. */
export class DrillProblems extends Problems {
  refused: FindingKind | undefined

  override add(finding: Pick<Finding, 'message' | 'hints'> & { readonly kind: FindingKind }): void {
    try {
      super.add(finding)
    } catch (error) {
      this.refused = finding.kind
      throw error
    }
  }

  /** WAL that a backup requires is missing. */
  get isBackupAtFault(): boolean {
    return this.refused === 'backup-wal' || this.refused === 'backup-wal-end'
  }
}

/** The backup of --set or --random, or the one that the target requires. */
export async function selectForDrill(
  ctx: CommandContext<'drill'>,
  restoring: CommandContext<'restore'>,
): Promise<Selected> {
  const { random, type } = ctx.options
  const repositories = await ctx.repositories()
  if (!random) return selectBackup(restoring, repositories, requestedSet(restoring), (text) => ctx.log.warn(text))
  if (ctx.isSet('set') || type !== 'immediate') {
    throw new PgtsError('option-invalid', 'option --random is only valid without --set and without a target', {
      hints: ['the recovery of a backup that is chosen at random ends when it is consistent'],
    })
  }
  const backups = (await readBackups(restoring, repositories)).flatMap(({ key, info }) =>
    (info?.backups ?? [])
      .filter(({ historyId }) => historyId === info?.currentId)
      .map((entry) => ({ repository: repositories.find((one) => one.key === key)!, info: info!, entry })),
  )
  // Without any, the message is that of the latest backup.
  if (backups.length === 0)
    return selectBackup(restoring, repositories, { set: { kind: 'latest' } }, (text) => ctx.log.warn(text))
  return backups[randomInt(backups.length)]!
}
