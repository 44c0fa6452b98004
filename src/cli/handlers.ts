import { EXIT_CODES } from '../util/error.ts'
import { archiveHandlers } from './archive-handlers.ts'
import type { CommandHandlers } from './outcome.ts'

/** Every command, loaded when it is called, and how its report becomes text. Most say all in their log lines. */
export const handlers: CommandHandlers = {
  ...archiveHandlers,
  annotate: async (ctx) => {
    const { annotate } = await import('../commands/annotate.ts')
    await annotate(ctx)
    return {}
  },
  'archive-status': async (ctx) => {
    const { archiveStatus } = await import('../commands/archive-status.ts')
    const { renderArchiveStatus } = await import('./render/archive-status.ts')
    return { text: renderArchiveStatus(await archiveStatus(ctx), ctx.options.output) }
  },
  backup: async (ctx) => {
    const { backup } = await import('../commands/backup.ts')
    await backup(ctx)
    return {}
  },
  check: async (ctx) => {
    const { check } = await import('../commands/check.ts')
    await check(ctx)
    return {}
  },
  expire: async (ctx) => {
    const { expire } = await import('../commands/expire.ts')
    const reports = await expire(ctx)
    if (!ctx.options.explain) return {}
    const { renderExpire } = await import('./render/expire.ts')
    return { text: renderExpire(reports, ctx.options.output) }
  },
  info: async (ctx) => {
    const { info } = await import('../commands/info.ts')
    const { renderInfo } = await import('./render/info.ts')
    return { text: renderInfo(await info(ctx), ctx.options.output) }
  },
  lease: async (ctx) => {
    const { lease } = await import('../commands/lease.ts')
    const { renderLeases } = await import('./render/lease.ts')
    return { text: renderLeases(await lease(ctx), ctx.options.output) }
  },
  manifest: async (ctx) => {
    const { manifest } = await import('../commands/manifest.ts')
    const { renderManifest } = await import('./render/manifest.ts')
    return { pieces: renderManifest(await manifest(ctx), ctx.options.output) }
  },
  pin: async (ctx) => {
    const { pin } = await import('../commands/pin.ts')
    await pin(ctx)
    return {}
  },
  'repo-get': async (ctx) => {
    const { repoGet } = await import('../commands/repo-get.ts')
    const { stdoutSink } = await import('./standard-streams.ts')
    const stdout = stdoutSink()
    const found = await repoGet(ctx, stdout).catch((error: unknown) => {
      if (!stdout.closed) throw error
      return true
    })
    return { exitCode: found ? 0 : 1 }
  },
  'repo-ls': async (ctx) => {
    const { repoLs } = await import('../commands/repo-ls.ts')
    const { renderRepoLs } = await import('./render/repo-ls.ts')
    return { pieces: renderRepoLs(await repoLs(ctx), ctx.options.output) }
  },
  'repo-put': async (ctx) => {
    const { repoPut } = await import('../commands/repo-put.ts')
    const { stdinSource } = await import('./standard-streams.ts')
    await repoPut(ctx, stdinSource())
    return {}
  },
  'repo-rm': async (ctx) => {
    const { repoRm } = await import('../commands/repo-rm.ts')
    await repoRm(ctx)
    return {}
  },
  restore: async (ctx) => {
    const { restore } = await import('../commands/restore.ts')
    await restore(ctx)
    return {}
  },
  'stanza-create': async (ctx) => {
    const { stanzaCreate } = await import('../commands/stanza-create.ts')
    await stanzaCreate(ctx)
    return {}
  },
  'stanza-delete': async (ctx) => {
    const { stanzaDelete } = await import('../commands/stanza-delete.ts')
    await stanzaDelete(ctx)
    return {}
  },
  'stanza-upgrade': async (ctx) => {
    const { stanzaUpgrade } = await import('../commands/stanza-upgrade.ts')
    await stanzaUpgrade(ctx)
    return {}
  },
  start: async (ctx) => {
    const { start } = await import('../commands/start.ts')
    await start(ctx)
    return {}
  },
  stop: async (ctx) => {
    const { stop } = await import('../commands/stop.ts')
    await stop(ctx)
    return {}
  },
  unpin: async (ctx) => {
    const { unpin } = await import('../commands/pin.ts')
    await unpin(ctx)
    return {}
  },
  verify: async (ctx) => {
    const { verify } = await import('../commands/verify.ts')
    const { renderVerify } = await import('./render/verify.ts')
    const reports = await verify(ctx)
    const text = renderVerify(reports, ctx.options.output, ctx.options.verbose)
    return { text, exitCode: reports.every(({ ok }) => ok) ? 0 : EXIT_CODES.command }
  },
}

/** What `<command>:async` does: the part of a command that goes on in the background. It has its log, and no terminal. */
export const asyncHandlers: CommandHandlers = {
  'archive-get': async (ctx) => {
    const { archiveGetAsync } = await import('../commands/archive-get-async.ts')
    await archiveGetAsync(ctx)
    return {}
  },
  'archive-push': async (ctx) => {
    const { archivePushAsync } = await import('../commands/archive-push-async.ts')
    await archivePushAsync(ctx)
    return {}
  },
}
