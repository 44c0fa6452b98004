import { withStanzaHints } from '../core/info-missing.ts'
import type { Repository } from '../core/repository.ts'
import { verifyRepository } from '../core/verify/verify.ts'
import type { Problem, VerifyReport } from '../core/verify/report.ts'
import { bytesToText } from '../util/byte-string.ts'
import { parseBackupLabel } from '../format/backup-label.ts'
import { EXIT_CODES, isHostError, toPlainError } from '../util/error.ts'
import { programName } from '../util/program-name.ts'
import type { CommandContext } from './context.ts'
import { repoId } from '../util/repo-id.ts'

/** Compare all stored files with their checksums and check that backups can be restored, in every selected repository. */
export async function verify(ctx: CommandContext<'verify'>): Promise<readonly VerifyReport[]> {
  const { options, log, signal, stanza } = ctx
  if (options.set !== undefined) parseBackupLabel(options.set, 'option-invalid-value')
  const reports: VerifyReport[] = []
  for (const repository of await ctx.repositories()) {
    const { key, host } = repository
    if (host !== undefined) {
      log.warn(
        { repo: key },
        `${repoId(key)}: all files are read over the network\nHINT: run verify on host '${host.name}' instead`,
      )
    }
    try {
      const report = await verifyOne(ctx, repository)
      reports.push(report)
      // A printed report must not be mixed with log lines.
      if (options.output === 'none') logProblems(ctx, report)
    } catch (error) {
      signal.throwIfAborted()
      const plain = toPlainError(withStanzaHints(error, ctx.stanzaHints))
      if (plain.code === 'backup-set-invalid' || isHostError(error)) throw error
      const lines = [`${repoId(repository.key)}: ${plain.message}`, ...plain.hints.map((hint) => `HINT: ${hint}`)]
      if (options.output === 'none') log.error({ repo: repository.key, code: EXIT_CODES[plain.code] }, lines.join('\n'))
      reports.push(unreachable(stanza, repository.key, lines.join('; ')))
    }
  }
  return reports
}

async function verifyOne(ctx: CommandContext<'verify'>, repository: Repository): Promise<VerifyReport> {
  const { options, clock, log, signal, stanza } = ctx
  const startMs = clock.nowMs()
  await using executor = await ctx.executor([repository])
  ctx.progress.phase(`verifying ${repoId(repository.key)}`)
  // Awaited here, because the executor is closed at the end of this block.
  return await verifyRepository({
    repository,
    stanza,
    executor,
    clock,
    log,
    signal,
    recordTimes: mayRecordTimes(ctx, repository),
    read: (doneBytes, totalBytes) => ctx.progress.done(doneBytes, totalBytes),
    set: options.set,
    provenSinceMs: options.since === undefined ? undefined : startMs - options.since,
    deadlineMs: options.maxTime === undefined ? undefined : startMs + options.maxTime,
  })
}

/**
 * Not under the name pgbackrest, which has no recovery window, and not as root on a disk: archiving could not write to
 * files of root.
 */
function mayRecordTimes({ program }: CommandContext<'verify'>, { storage }: Repository): boolean {
  return programName(program) === 'pgts' && !(storage.links !== undefined && process.geteuid?.() === 0)
}

function unreachable(stanza: string, repoKey: number, message: string): VerifyReport {
  const problems: Problem[] = [{ level: 'error', message }]
  return {
    stanza,
    repoKey,
    ok: false,
    problems,
    archives: [],
    backups: [],
    readBytes: 0,
    skipped: { recent: 0, late: 0 },
  }
}

/** Problems are also logged, because verify runs from cron. */
function logProblems({ log }: CommandContext<'verify'>, report: VerifyReport): void {
  const { repoKey } = report
  for (const { level, message } of report.problems) {
    if (level === 'error') log.warn({ repo: repoKey }, `${repoId(repoKey)}: ${message}`)
    else log.info({ repo: repoKey }, `${repoId(repoKey)}: ${message}`)
  }
  for (const { archiveId, faulty } of report.archives) {
    for (const { repoName, reason } of faulty)
      log.warn(
        { repo: repoKey, file: repoName },
        `${repoId(repoKey)}: WAL of ${archiveId} is incomplete or corrupt: ${bytesToText(repoName)}: ${reason}`,
      )
  }
  for (const { label, status, faulty, reasons } of report.backups) {
    if (status === 'valid' || status === 'in-progress') continue
    const why = [
      ...faulty.slice(0, FILES_SHOWN).map(({ name, reason }) => `${bytesToText(name)}: ${reason}`),
      ...(faulty.length > FILES_SHOWN ? [`and ${faulty.length - FILES_SHOWN} more files`] : []),
      ...reasons,
    ]
    const lines = [`${repoId(repoKey)}: backup ${label} cannot be used safely: ${status}`, ...why]
    log.warn({ repo: repoKey, label }, lines.join('\n'))
  }
}

/** The report contains all of them. */
const FILES_SHOWN = 10
