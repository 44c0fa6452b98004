import { decryptor } from '../codec/cipher.ts'
import { pump } from '../codec/pump.ts'
import { repositoryName } from '../core/repo/name.ts'
import { passphraseOf } from '../core/repo/passphrase.ts'
import { textToBytes } from '../util/byte-string.ts'
import type { ByteSink } from '../util/bytes.ts'
import { isPgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { oneRepository, repositoryRoot } from './shared/one-repository.ts'

/** The bytes of one stored file, still compressed, and decrypted unless `raw`; false: it does not exist. */
export async function repoGet(ctx: CommandContext<'repo-get'>, sink: ByteSink): Promise<boolean> {
  const { options, parameters, signal } = ctx
  const repository = await oneRepository(ctx)
  const name = repositoryName(textToBytes(parameters[0]!), textToBytes(repositoryRoot(ctx, repository)))
  try {
    const source = await repository.storage.read(name, { signal })
    const passphrase = options.raw ? undefined : await passphraseOf(repository, name, signal)
    await pump(source, passphrase === undefined ? [] : [decryptor(passphrase)], sink, signal)
    return true
  } catch (error) {
    if (options.ignoreMissing && isPgtsError(error, 'file-missing')) return false
    throw error
  }
}
