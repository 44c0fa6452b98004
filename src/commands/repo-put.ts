import { encryptor } from '../codec/cipher.ts'
import { pump } from '../codec/pump.ts'
import { repositoryName } from '../core/repo/name.ts'
import { textToBytes } from '../util/byte-string.ts'
import type { ByteSource } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'
import { oneRepository, repositoryRoot } from './shared/one-repository.ts'

/** Store bytes as one file, completely or not at all; encrypted with the repository's passphrase unless `raw`. */
export async function repoPut(ctx: CommandContext<'repo-put'>, source: ByteSource): Promise<void> {
  const { options, parameters, signal } = ctx
  const repository = await oneRepository(ctx)
  const name = repositoryName(textToBytes(parameters[0]!), textToBytes(repositoryRoot(ctx, repository)))
  if (name === '') throw new PgtsError('param-invalid', 'repo-put requires the name of a file')
  const { cipher, storage } = repository
  await using file = await storage.create(name, { signal })
  await pump(source, cipher === undefined || options.raw ? [] : [encryptor(cipher.passphrase())], file.sink, signal)
  await file.commit()
}
