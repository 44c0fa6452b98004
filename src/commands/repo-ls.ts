import { listRepository, type ListedFile } from '../core/repo/list.ts'
import { repositoryName } from '../core/repo/name.ts'
import { textToBytes } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { oneRepository, repositoryRoot } from './shared/one-repository.ts'

/** Lists a stored file, or everything below a path. Names are byte strings, not normalised. */
export async function repoLs(ctx: CommandContext<'repo-ls'>): Promise<AsyncIterable<ListedFile>> {
  const { options, parameters, signal } = ctx
  const repository = await oneRepository(ctx)
  const name = repositoryName(textToBytes(parameters[0] ?? ''), textToBytes(repositoryRoot(ctx, repository)))
  const filter = options.filter === undefined ? undefined : expression(options.filter)
  return listRepository(repository.storage, name, {
    recurse: options.recurse,
    order: options.sort,
    filter,
    signal,
  })
}

/** Compiled for byte strings, so characters beyond ASCII are matched byte by byte. */
function expression(text: string): RegExp {
  try {
    return new RegExp(textToBytes(text))
  } catch (cause) {
    throw new PgtsError('option-invalid-value', `filter '${text}' is not a regular expression`, { cause })
  }
}
