import { EXIT_CODES } from '../util/error.ts'
import { loadModule } from '../util/load-module.ts'
import { archiveHandlers } from './archive-handlers.ts'
import type { CommandHandlers } from './outcome.ts'

/** Every command, loaded when it is called, and how its report becomes text. Most say all in their log lines. */
export const handlers: CommandHandlers = {
  ...archiveHandlers,
  annotate: async (ctx) => {
    const { annotate } = await loadModule(() => import('../commands/annotate.ts'))
    await annotate(ctx)
    return {}
  },
  'archive-status': async (ctx) => {
    const { archiveStatus } = await loadModule(() => import('../commands/archive-status.ts'))
    const { renderArchiveStatus } = await loadModule(() => import('./render/archive-status.ts'))
    return { text: renderArchiveStatus(await archiveStatus(ctx), ctx.options.output) }
  },
  backup: async (ctx) => {
    const { backup } = await loadModule(() => import('../commands/backup.ts'))
    await backup(ctx)
    return {}
  },
  check: async (ctx) => {
    const { check } = await loadModule(() => import('../commands/check.ts'))
    await check(ctx)
    return {}
  },
  expire: async (ctx) => {
    const { expire } = await loadModule(() => import('../commands/expire.ts'))
    const reports = await expire(ctx)
    if (!ctx.options.explain) return {}
    const { renderExpire } = await loadModule(() => import('./render/expire.ts'))
    return { text: renderExpire(reports, ctx.options.output) }
  },
  info: async (ctx) => {
    const { info } = await loadModule(() => import('../commands/info.ts'))
    const { renderInfo } = await loadModule(() => import('./render/info.ts'))
    return { text: renderInfo(await info(ctx), ctx.options.output) }
  },
  lease: async (ctx) => {
    const { lease } = await loadModule(() => import('../commands/lease.ts'))
    const { renderLeases } = await loadModule(() => import('./render/lease.ts'))
    return { text: renderLeases(await lease(ctx), ctx.options.output) }
  },
  manifest: async (ctx) => {
    const { manifest } = await loadModule(() => import('../commands/manifest.ts'))
    const { renderManifest } = await loadModule(() => import('./render/manifest.ts'))
    return { pieces: renderManifest(await manifest(ctx), ctx.options.output) }
  },
  pin: async (ctx) => {
    const { pin } = await loadModule(() => import('../commands/pin.ts'))
    await pin(ctx)
    return {}
  },
  'repo-get': async (ctx) => {
    const { repoGet } = await loadModule(() => import('../commands/repo-get.ts'))
    const { stdoutSink } = await loadModule(() => import('./standard-streams.ts'))
    const stdout = stdoutSink()
    const found = await repoGet(ctx, stdout).catch((error: unknown) => {
      if (!stdout.closed) throw error
      return true
    })
    return { exitCode: found ? 0 : 1 }
  },
  'repo-ls': async (ctx) => {
    const { repoLs } = await loadModule(() => import('../commands/repo-ls.ts'))
    const { renderRepoLs } = await loadModule(() => import('./render/repo-ls.ts'))
    return { pieces: renderRepoLs(await repoLs(ctx), ctx.options.output) }
  },
  'repo-put': async (ctx) => {
    const { repoPut } = await loadModule(() => import('../commands/repo-put.ts'))
    const { stdinSource } = await loadModule(() => import('./standard-streams.ts'))
    await repoPut(ctx, stdinSource())
    return {}
  },
  'repo-rm': async (ctx) => {
    const { repoRm } = await loadModule(() => import('../commands/repo-rm.ts'))
    await repoRm(ctx)
    return {}
  },
  restore: async (ctx) => {
    const { restore } = await loadModule(() => import('../commands/restore.ts'))
    await restore(ctx)
    return {}
  },
  'stanza-create': async (ctx) => {
    const { stanzaCreate } = await loadModule(() => import('../commands/stanza-create.ts'))
    await stanzaCreate(ctx)
    return {}
  },
  'stanza-delete': async (ctx) => {
    const { stanzaDelete } = await loadModule(() => import('../commands/stanza-delete.ts'))
    await stanzaDelete(ctx)
    return {}
  },
  'stanza-upgrade': async (ctx) => {
    const { stanzaUpgrade } = await loadModule(() => import('../commands/stanza-upgrade.ts'))
    await stanzaUpgrade(ctx)
    return {}
  },
  start: async (ctx) => {
    const { start } = await loadModule(() => import('../commands/start.ts'))
    await start(ctx)
    return {}
  },
  stop: async (ctx) => {
    const { stop } = await loadModule(() => import('../commands/stop.ts'))
    await stop(ctx)
    return {}
  },
  unpin: async (ctx) => {
    const { unpin } = await loadModule(() => import('../commands/pin.ts'))
    await unpin(ctx)
    return {}
  },
  verify: async (ctx) => {
    const { verify } = await loadModule(() => import('../commands/verify.ts'))
    const { renderVerify } = await loadModule(() => import('./render/verify.ts'))
    const reports = await verify(ctx)
    const { output, verbose } = ctx.options
    const text = renderVerify(reports, output, verbose)
    // Programs look for `status: error` in the log, as verify of pgbackrest ends with 0 whatever it finds.
    const logged = output === 'none' ? renderVerify(reports, 'text', verbose).trimEnd() : ''
    if (logged !== '') ctx.log.info(logged)
    return { text, exitCode: reports.every(({ ok }) => ok) ? 0 : EXIT_CODES.command }
  },
}

/** What `<command>:async` does: the part of a command that goes on in the background. It has its log, and no terminal. */
export const asyncHandlers: CommandHandlers = {
  'archive-get': async (ctx) => {
    const { archiveGetAsync } = await loadModule(() => import('../commands/archive-get-async.ts'))
    await archiveGetAsync(ctx)
    return {}
  },
  'archive-push': async (ctx) => {
    const { archivePushAsync } = await loadModule(() => import('../commands/archive-push-async.ts'))
    await archivePushAsync(ctx)
    return {}
  },
}
