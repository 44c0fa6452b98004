import { repositoryName } from '../core/repo/name.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { oneRepository, repositoryRoot } from './shared/one-repository.ts'

/** Remove a file, or with --recurse a path and all below. An absent file is not an error. */
export async function repoRm(ctx: CommandContext<'repo-rm'>): Promise<void> {
  const { options, parameters, signal } = ctx
  const repository = await oneRepository(ctx)
  const { storage } = repository
  const name = repositoryName(textToBytes(parameters[0]!), textToBytes(repositoryRoot(ctx, repository)))
  if (name === '') throw new PgtsError('param-invalid', 'repo-rm does not remove the whole repository')
  const file = await storage.stat(name, { signal })
  if (file !== undefined && file.kind !== 'path') return storage.remove(name, { signal })
  if (!options.recurse) {
    for await (const _entry of storage.list(name, { signal })) {
      throw new PgtsError('option-invalid', `${parameters[0]} is a path that is not empty: --recurse is required`)
    }
  }
  await storage.removeTree(name, { signal })
}
