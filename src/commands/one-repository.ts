import { PgtsError } from '../util/error.ts'
import type { CommandContext, Repository } from './context.ts'

/**
 * The repository that a command works on which never works on several: that of --repo, or the only one.
 *
 * @throws PgtsError option-required where --repo would have to choose
 */
export async function oneRepository(ctx: CommandContext): Promise<Repository> {
  const [repository, ...more] = await ctx.repositories()
  if (repository === undefined) throw new PgtsError('assert', 'no repository is configured')
  if ((repository.key !== 1 || more.length > 0) && !ctx.isSet('repo')) {
    throw new PgtsError('option-required', `${ctx.command} needs --repo: it works on one repository at a time`, {
      hints: [`configured: ${ctx.options.repo.map(({ key }) => `repo${key}`).join(', ')}`],
    })
  }
  return repository
}

/** Where the repository begins, for absolute paths on the command line. */
export function repositoryRoot({ options }: CommandContext, { key }: Repository): string {
  return options.repo.find((repo) => repo.key === key)?.path ?? '/'
}
