import { PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'
import { childOptions, pgtsWords } from './apply.ts'
import { codeOf, runAsOwner } from './owner.ts'
import type { Plan } from './plan.ts'
import type { Dialogue } from './ports.ts'

/** [102] unless the owner can run pgts by the path that archive_command will have. */
export async function requireProgram(ctx: CommandContext<'init'>, { owner }: Plan): Promise<void> {
  const options = { ...childOptions(ctx), output: 'captured' as const }
  const { code, stdout } = await runAsOwner(owner, [ctx.program, 'version'], options)
  if (code === 0 && stdout !== '') return
  throw new PgtsError('execute', `${owner.name} cannot run ${ctx.program}, which archive_command will call`, {
    hints: [
      `see why: sudo -u ${owner.name} ${ctx.program} version`,
      `install pgts where ${owner.name} can read it, with Node.js: docs/guide/install.md`,
    ],
  })
}

/** True if a repository of the configuration has a backup of the stanza. */
export async function hasBackup(ctx: CommandContext<'init'>, plan: Plan): Promise<boolean> {
  const options = { ...childOptions(ctx), output: 'captured' as const }
  const words = pgtsWords(ctx, plan, '--output=json', '--log-level-console=off', 'info')
  const { code, stdout } = await runAsOwner(plan.owner, words, options)
  if (code !== 0) return false
  const stanzas = JSON.parse(stdout) as readonly { readonly backup?: readonly unknown[] }[]
  return stanzas.some(({ backup = [] }) => backup.length > 0)
}

/** A new object store must answer before its settings are written. Its error was shown; the error here repeats the code. */
export async function requireReachable(ctx: CommandContext<'init'>, plan: Plan, dialogue: Dialogue): Promise<void> {
  const { repository, owner, config } = plan
  if (repository === undefined || repository.directory !== undefined) return
  dialogue.say('Asking the store for its files')
  const variables = repository.settings.flatMap(({ option, key, value }) =>
    key !== 1 || typeof value === 'object'
      ? []
      : [[variableOf(option), typeof value === 'boolean' ? (value ? 'y' : 'n') : String(value)] as const],
  )
  const env = { ...ctx.env, ...Object.fromEntries(variables) }
  const { code } = await runAsOwner(owner, [ctx.program, '--no-config', 'repo-ls'], {
    ...childOptions(ctx),
    output: 'report',
    env,
  })
  if (code === 0) return
  throw new PgtsError(codeOf(code), `the repository cannot be reached with these settings: see the message above`, {
    hints: [`${config.path} was not written`, 'correct the settings and run init again'],
  })
}

function variableOf(option: string): string {
  return `PGTS_${option
    .replace(/^repo-/, 'repo1-')
    .toUpperCase()
    .replaceAll('-', '_')}`
}
