import { PgtsError } from '../../util/error.ts'
import type { Repository } from '../../core/repository.ts'
import type { CommandContext } from '../context.ts'
import { repoId } from '../../util/repo-id.ts'

/**
 * The repository of a command that works on one only: that of --repo, or the only configured one.
 *
 * @throws PgtsError option-required if several are configured and --repo is not given
 */
export async function oneRepository(ctx: CommandContext): Promise<Repository> {
  const [repository, ...more] = await ctx.repositories()
  if (repository === undefined) throw new PgtsError('assert', 'no repository is configured')
  if ((repository.key !== 1 || more.length > 0) && !ctx.isSet('repo')) {
    throw new PgtsError('option-required', `${ctx.command} requires --repo: it works on one repository at a time`, {
      hints: [`configured: ${ctx.options.repo.map(({ key }) => repoId(key)).join(', ')}`],
    })
  }
  return repository
}

/** Path of the repository, to make absolute paths of the command line relative. */
export function repositoryRoot({ options }: CommandContext, { key }: Repository): string {
  return options.repo.find((repo) => repo.key === key)?.path ?? '/'
}
