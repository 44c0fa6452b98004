import { realpath } from 'node:fs/promises'
import { decodeText, textPath, textToBytes, type ByteString } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'

/**
 * The absolute path of `%p`. PostgreSQL passes a path relative to its data directory and starts the command there, so a
 * working directory other than pg1-path shows that the command is configured for another cluster: this refuses a
 * restored copy that still has the archive_command of the original.
 *
 * @param parameter as given on the command line
 * @param pgPath pg1-path, if it is configured
 * @returns byte string
 * @throws PgtsError option-required, option-invalid-value, path-missing
 */
export async function resolveWalPath(
  command: string,
  parameter: string,
  pgPath: string | undefined,
  cwd: string,
): Promise<ByteString> {
  if (parameter.startsWith('/')) return textToBytes(parameter)
  if (pgPath === undefined) {
    throw new PgtsError('option-required', `${command} requires pg1-path to find '${parameter}'`, {
      hints: [
        `check that the server passes %p to ${command}, not %f`,
        'set pg1-path to the data_directory of the server',
      ],
    })
  }
  if (cwd !== pgPath && (await realPathOf(cwd)) !== (await realPathOf(pgPath))) {
    throw new PgtsError(
      'option-invalid-value',
      `${command} was started in ${cwd}, which is not the data directory of pg1-path, ${pgPath}`,
      {
        hints: [
          'check that pg1-path is the data_directory of the server that runs this command',
          'if this server is a copy with the settings of the original, configure its own stanza or set archive_mode = off',
        ],
      },
    )
  }
  return textToBytes(`${pgPath}/${parameter}`)
}

async function realPathOf(path: string): Promise<string> {
  try {
    return decodeText(await realpath(textPath(path), { encoding: 'buffer' }))
  } catch (error) {
    throw new PgtsError('path-missing', `cannot find ${path}: ${messageOf(error)}`, {
      hints: ['check pg1-path'],
      cause: error,
    })
  }
}
