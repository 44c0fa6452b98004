import type { SettingChange } from '../../core/init/server-changes.ts'
import { alterSystem, readServerConfiguration } from '../../postgres/archive-settings.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { codeOf, run, runAsOwner, type ChildOptions } from './owner.ts'
import type { Plan } from './plan.ts'
import type { Dialogue } from './ports.ts'
import { withServer } from './server.ts'

/** How long the server may take to read its files again. */
const RELOAD_MS = 10_000
/** How long a restarted server may take until it admits connections: it can have WAL to replay. */
const RESTART_MS = 120_000

/**
 * ALTER SYSTEM and reload; then each setting without restart must be in effect. archive_command is written before
 * archive_mode: a run that is ended between them leaves no server that would keep all WAL after a restart.
 */
export async function applySettings(
  ctx: CommandContext<'init'>,
  plan: Plan,
  changes: readonly SettingChange[],
): Promise<void> {
  await withServer(ctx, plan.cluster, plan.owner, async (server) => {
    await alterSystem(
      server,
      changes
        .filter(({ isWritten }) => !isWritten)
        .sort((a, b) => Number(a.needsRestart) - Number(b.needsRestart))
        .map(({ name, to }) => ({ name, value: to })),
    )
    await untilEffective(ctx, server, changes)
  })
}

async function untilEffective(
  ctx: CommandContext<'init'>,
  server: ServerConnection,
  changes: readonly SettingChange[],
): Promise<void> {
  const deadline = ctx.clock.nowMs() + RELOAD_MS
  const pending = async () => {
    const { settings } = await readServerConfiguration(server)
    return changes.filter(({ name, to, needsRestart }) => {
      const setting = settings[name]
      return needsRestart ? setting?.afterRestart !== to : setting?.value !== to
    })
  }
  for (;;) {
    const [first] = await pending()
    if (first === undefined) return
    if (ctx.clock.nowMs() > deadline) {
      throw new PgtsError('config', `${first.name} is not '${first.to}' after ALTER SYSTEM and a reload`, {
        hints: [
          `look for the reason: select * from pg_file_settings where name = '${first.name}'`,
          'a setting on the command line of the server has precedence over its files',
        ],
      })
    }
    await ctx.clock.sleep(50, ctx.signal)
  }
}

/** Restarts the server by the plan's command, and waits until it admits connections with the new settings. */
export async function restartServer(ctx: CommandContext<'init'>, plan: Plan, options: ChildOptions): Promise<void> {
  const { command, args, as } = plan.restart
  const words = [command, ...args]
  const { code } = as === 'owner' ? await runAsOwner(plan.owner, words, options) : await run(words, options)
  if (code !== 0) {
    throw new PgtsError('execute', `${words.join(' ')} ended with code ${code}`, {
      hints: ['see the log of the server', 'start the server, then run init again'],
    })
  }
  const deadline = ctx.clock.nowMs() + RESTART_MS
  for (;;) {
    try {
      await withServer(ctx, plan.cluster, plan.owner, async () => undefined)
      return
    } catch (error) {
      ctx.signal.throwIfAborted()
      if (ctx.clock.nowMs() > deadline) throw error
      await ctx.clock.sleep(200, ctx.signal)
    }
  }
}

/** The command line of pgts for this stanza, as the operator can repeat it. */
export function pgtsWords(ctx: CommandContext<'init'>, plan: Plan, ...words: readonly string[]): string[] {
  return [ctx.program, ...plan.configArguments, `--stanza=${plan.stanza}`, ...words]
}

/** Runs pgts as the owner. It reports its own errors; the error here repeats its code. */
export async function runPgts(
  ctx: CommandContext<'init'>,
  plan: Plan,
  options: ChildOptions,
  ...words: readonly string[]
): Promise<void> {
  const line = pgtsWords(ctx, plan, ...words)
  const { code } = await runAsOwner(plan.owner, line, options)
  if (code === 0) return
  throw new PgtsError(codeOf(code), `${line.join(' ')} ended with code ${code}: see its message above`, {
    hints: ['fix the cause, then run init again: it continues where it stopped'],
  })
}

export function childOptions(ctx: CommandContext<'init'>): ChildOptions {
  return { env: ctx.env, signal: ctx.signal, output: ctx.options.output === 'json' ? 'report' : 'terminal' }
}

/** Shows the command and runs it. */
export async function step(
  ctx: CommandContext<'init'>,
  plan: Plan,
  dialogue: Dialogue,
  ...words: readonly string[]
): Promise<void> {
  dialogue.say(`$ ${pgtsWords(ctx, plan, ...words).join(' ')}`)
  await runPgts(ctx, plan, childOptions(ctx), ...words)
}
