import type { RestoreReport } from '../commands/restore.ts'
import type { RestorePlanReport } from '../core/restore/plan-report.ts'
import type { CommandRole } from '../config/command-roles.ts'
import { EXIT_CODES } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import type { InitReport } from '../commands/init/report.ts'
import { row, type CommandRows, type Outcome } from './command-row.ts'
import type { ReportingCommand, Reports } from './render/report-table.ts'

/** The segment is not in the archive: PostgreSQL takes exit code 1 for the end of the archive. */
const NOT_FOUND = 1

/** A page that `report` writes: for its group, for example that of a web server. */
const REPORT_MODE = 0o640

/** `restore` with and without --dry-run. */
type RestoreOutcome =
  | { readonly plan: RestorePlanReport; readonly restored?: undefined }
  | { readonly plan?: undefined; readonly restored: RestoreReport }

/** The report of a command in the form of `--output`; nothing without it. */
async function reportOutcome<C extends ReportingCommand>(
  command: C,
  report: Reports[C],
  output: 'none' | 'text' | 'json',
): Promise<Outcome> {
  if (output === 'none') return {}
  const { renderReport } = await loadModule(() => import('./render/report.ts'))
  return { text: renderReport(command, report, output) }
}

/** Every command that people and PostgreSQL call. */
export const commandRows: CommandRows = {
  annotate: row({
    load: async () => (await loadModule(() => import('../commands/annotate.ts'))).annotate,
    render: async (report, { options }) => reportOutcome('annotate', report, options.output),
  }),
  'archive-allow': row({
    load: async () => (await loadModule(() => import('../commands/archive-allow.ts'))).archiveAllow,
    render: async (report, { options }) => reportOutcome('archive-allow', report, options.output),
  }),
  'archive-get': row({
    load: async () => (await loadModule(() => import('../commands/archive-get.ts'))).archiveGet,
    render: ({ found }) => ({ exitCode: found ? 0 : NOT_FOUND }),
  }),
  'archive-push': row({
    load: async () => (await loadModule(() => import('../commands/archive-push.ts'))).archivePush,
  }),
  'archive-status': row({
    load: async () => (await loadModule(() => import('../commands/archive-status.ts'))).archiveStatus,
    render: async (report, { options }) => {
      const { renderArchiveStatus } = await loadModule(() => import('./render/archive-status.ts'))
      return { text: renderArchiveStatus(report, options.output) }
    },
  }),
  backup: row({
    load: async () => (await loadModule(() => import('../commands/backup.ts'))).backup,
    render: async (report, { options }) => {
      const { backupResult } = await loadModule(() => import('./render/result.ts'))
      const outcome = await reportOutcome('backup', report, options.output)
      return 'skipped' in report ? outcome : { ...outcome, result: backupResult(report) }
    },
  }),
  check: row({
    load: async () => (await loadModule(() => import('../commands/check.ts'))).check,
    render: async (report, { options }) => reportOutcome('check', report, options.output),
  }),
  demo: row<'demo', void>({
    load: async () => {
      const { demo } = await loadModule(() => import('../commands/demo.ts'))
      const { openDialogue } = await loadModule(() => import('./init/dialogue.ts'))
      return (ctx) => demo(ctx, openDialogue(false, ctx.signal).say)
    },
  }),
  doctor: row({
    load: async () => (await loadModule(() => import('../commands/doctor.ts'))).doctor,
    render: async (report, { options }) => {
      const { renderDoctor } = await loadModule(() => import('./render/doctor.ts'))
      return renderDoctor(report, options.output)
    },
  }),
  drill: row({
    load: async () => {
      const { drill, drillFailure } = await loadModule(() => import('../commands/drill.ts'))
      return async (ctx) => {
        const report = await drill(ctx)
        if (report.result === 'failed' && ctx.options.output === 'none') throw drillFailure(report)
        return report
      }
    },
    render: async (report, { options }) => {
      const { renderDrill } = await loadModule(() => import('./render/drill.ts'))
      const { drillResult } = await loadModule(() => import('./render/result.ts'))
      const exitCode = report.result === 'passed' ? 0 : EXIT_CODES['db-invalid']
      return { text: renderDrill(report, options.output), result: drillResult(report), exitCode }
    },
  }),
  expire: row({
    load: async () => (await loadModule(() => import('../commands/expire.ts'))).expire,
    render: async (reports, { options }) => {
      if (!options.explain && options.output !== 'json') return {}
      const { renderExpire } = await loadModule(() => import('./render/expire.ts'))
      return { text: renderExpire(reports, options.output) }
    },
  }),
  info: row({
    load: async () => (await loadModule(() => import('../commands/info.ts'))).info,
    render: async (report, { options, stanzaHints }) => {
      const { infoHints, renderInfo } = await loadModule(() => import('./render/info.ts'))
      return { text: renderInfo(report, options.output), hints: infoHints(report, stanzaHints) }
    },
  }),
  init: row<'init', InitReport>({
    load: async () => {
      const { init } = await loadModule(() => import('../commands/init.ts'))
      const { openInitPorts } = await loadModule(() => import('./init/ports.ts'))
      return async (ctx, { configFiles }) => {
        using ports = openInitPorts(ctx, configFiles)
        return await init(ctx, ports)
      }
    },
    render: async (report, { options }) => {
      const { renderInit } = await loadModule(() => import('./render/init.ts'))
      return { text: renderInit(report, options.output) }
    },
  }),
  lease: row({
    load: async () => (await loadModule(() => import('../commands/lease.ts'))).lease,
    render: async (report, { options }) => {
      const { renderLeases } = await loadModule(() => import('./render/lease.ts'))
      return { text: renderLeases(report, options.output) }
    },
  }),
  manifest: row({
    load: async () => (await loadModule(() => import('../commands/manifest.ts'))).manifest,
    render: async (report, { options }) => {
      const { renderManifest } = await loadModule(() => import('./render/manifest.ts'))
      return { pieces: renderManifest(report, options.output) }
    },
  }),
  metrics: row({
    load: async () => (await loadModule(() => import('../commands/metrics.ts'))).metrics,
    render: (text) => ({ text }),
  }),
  'move-target': row({
    load: async () => (await loadModule(() => import('../commands/move-target.ts'))).moveTarget,
    render: ({ next }) => ({ result: next }),
  }),
  pin: row({
    load: async () => (await loadModule(() => import('../commands/pin.ts'))).pin,
    render: async (report, { options }) => reportOutcome('pin', report, options.output),
  }),
  'repo-get': row<'repo-get', boolean>({
    load: async () => {
      const { repoGet } = await loadModule(() => import('../commands/repo-get.ts'))
      const { stdoutSink } = await loadModule(() => import('./standard-streams.ts'))
      return async (ctx) => {
        const stdout = stdoutSink()
        return repoGet(ctx, stdout).catch((error: unknown) => {
          if (!stdout.closed) throw error
          return true
        })
      }
    },
    render: (found) => ({ exitCode: found ? 0 : 1 }),
  }),
  'repo-ls': row({
    load: async () => (await loadModule(() => import('../commands/repo-ls.ts'))).repoLs,
    render: async (report, { options }) => {
      const { renderRepoLs } = await loadModule(() => import('./render/repo-ls.ts'))
      return { pieces: renderRepoLs(report, options.output) }
    },
  }),
  'repo-put': row<'repo-put', void>({
    load: async () => {
      const { repoPut } = await loadModule(() => import('../commands/repo-put.ts'))
      const { stdinSource } = await loadModule(() => import('./standard-streams.ts'))
      return (ctx) => repoPut(ctx, stdinSource())
    },
  }),
  'repo-rm': row({
    load: async () => (await loadModule(() => import('../commands/repo-rm.ts'))).repoRm,
  }),
  report: row({
    load: async () => (await loadModule(() => import('../commands/report.ts'))).report,
    render: async (report, { options }) => {
      const { renderPage } = await loadModule(() => import('./render/page/page.ts'))
      const text = renderPage(report)
      if (options.file === undefined) return { text }
      const { writeOutput } = await loadModule(() => import('../commands/shared/write-output.ts'))
      writeOutput('the report', options.file, text, REPORT_MODE)
      return {}
    },
  }),
  restore: row<'restore', RestoreOutcome>({
    load: async () => {
      const [{ restore }, { planRestore }] = await Promise.all([
        loadModule(() => import('../commands/restore.ts')),
        loadModule(() => import('../commands/restore-plan.ts')),
      ])
      return async (ctx) => (ctx.options.dryRun ? { plan: await planRestore(ctx) } : { restored: await restore(ctx) })
    },
    render: async ({ plan, restored }, { options }) => {
      if (plan !== undefined) {
        const { renderRestorePlan } = await loadModule(() => import('./render/restore-plan.ts'))
        const refused = plan.problems.find(({ exitCode }) => exitCode !== undefined)
        return { text: renderRestorePlan(plan, options.output), exitCode: refused?.exitCode ?? 0 }
      }
      const { restoreResult } = await loadModule(() => import('./render/result.ts'))
      // `text` is the default of the plan; a finished restore prints nothing.
      const output = options.output === 'json' ? 'json' : 'none'
      return { ...(await reportOutcome('restore', restored, output)), result: restoreResult(restored) }
    },
  }),
  server: row<'server', void>({
    load: async () => {
      const [{ server }, { openServerPorts }] = await Promise.all([
        loadModule(() => import('../commands/server.ts')),
        loadModule(() => import('./server/ports.ts')),
      ])
      return (ctx, launcher) => server(ctx, openServerPorts(ctx, launcher))
    },
  }),
  'server-ping': row({
    load: async () => (await loadModule(() => import('../commands/server-ping.ts'))).serverPing,
  }),
  'stanza-create': row({
    load: async () => (await loadModule(() => import('../commands/stanza-create.ts'))).stanzaCreate,
    render: async (report, { options }) => reportOutcome('stanza-create', report, options.output),
  }),
  'stanza-delete': row({
    load: async () => (await loadModule(() => import('../commands/stanza-delete.ts'))).stanzaDelete,
    render: async (report, { options }) => reportOutcome('stanza-delete', report, options.output),
  }),
  'stanza-upgrade': row({
    load: async () => (await loadModule(() => import('../commands/stanza-upgrade.ts'))).stanzaUpgrade,
    render: async (report, { options }) => reportOutcome('stanza-upgrade', report, options.output),
  }),
  start: row({
    load: async () => (await loadModule(() => import('../commands/start.ts'))).start,
    render: async (report, { options }) => reportOutcome('start', report, options.output),
  }),
  stop: row({
    load: async () => (await loadModule(() => import('../commands/stop.ts'))).stop,
    render: async (report, { options }) => reportOutcome('stop', report, options.output),
  }),
  unpin: row({
    load: async () => (await loadModule(() => import('../commands/pin.ts'))).unpin,
    render: async (report, { options }) => reportOutcome('unpin', report, options.output),
  }),
  verify: row({
    load: async () => (await loadModule(() => import('../commands/verify.ts'))).verify,
    render: async (reports, { options: { output, verbose }, log }) => {
      const { renderVerify, verifyCounts } = await loadModule(() => import('./render/verify.ts'))
      const { verifyResult } = await loadModule(() => import('./render/result.ts'))
      const text = renderVerify(reports, output, verbose)
      // Programs search for `status: error` in the log, because verify of pgbackrest always ends with 0.
      const logged = output === 'none' ? renderVerify(reports, 'text', verbose).trimEnd() : ''
      if (logged !== '') log.info(logged)
      for (const report of reports) log.info(verifyCounts(report))
      const result = verifyResult(reports, performance.now())
      return { text, result, exitCode: reports.every(({ ok }) => ok) ? 0 : EXIT_CODES.command }
    },
  }),
}

/**
 * `<command>:async`, the background process of a command, and without archive-async its resident process. It has a log file
 * and no terminal.
 */
const asyncRows: CommandRows = {
  'archive-get': async (ctx, launcher) => {
    if (ctx.options.archiveAsync) {
      const { archiveGetAsync } = await loadModule(() => import('../commands/archive-get-async.ts'))
      await archiveGetAsync(ctx, launcher)
    } else {
      const { getResident } = await loadModule(() => import('../commands/archive-resident/get.ts'))
      await getResident(ctx, launcher)
    }
    return {}
  },
  'archive-push': async (ctx, launcher) => {
    if (ctx.options.archiveAsync) {
      const { archivePushAsync } = await loadModule(() => import('../commands/archive-push-async.ts'))
      await archivePushAsync(ctx, launcher)
    } else {
      const { pushResident } = await loadModule(() => import('../commands/archive-resident/push.ts'))
      await pushResident(ctx, launcher)
    }
    return {}
  },
}

/** Processes that a command starts on this host. */
export const roleRows: { readonly [R in Exclude<CommandRole, 'remote'>]: CommandRows } = {
  async: asyncRows,
  hook: {
    'archive-push': async (ctx) => {
      const { archivePushHook } = await loadModule(() => import('../commands/archive-push-hook.ts'))
      await archivePushHook(ctx)
      return {}
    },
  },
}
