import { readFileSync, realpathSync } from 'node:fs'
import { decodeText, textPath, textToBytes } from '../../util/byte-string.ts'
import { messageOf, PgtsError, systemCode } from '../../util/error.ts'
import { attributesOf, createFile, replaceFile } from '../../util/replace-file.ts'
import type { Owner } from './owner.ts'

const MODE = 0o640

/**
 * Writes a configuration file whole or not at all, durably. A new file gets mode 0640 and the owner that runs pgts; an
 * existing one keeps owner and mode, and is replaced only if it still has the text that the change was made from.
 *
 * @param before the text that was read; undefined if the file did not exist
 */
export function writeConfig(path: string, text: string, before: string | undefined, owner: Owner): void {
  const content = Buffer.from(textToBytes(text), 'latin1')
  try {
    if (before === undefined) createFile(textToBytes(path), content, { mode: MODE, owner })
    else {
      // A link stays: its target is replaced.
      const target = decodeText(realpathSync(textPath(path), 'buffer'))
      const name = textToBytes(target)
      replaceFile(name, content, attributesOf(name), () => requireUnchanged(target, before))
    }
  } catch (cause) {
    if (cause instanceof PgtsError) throw cause
    if (systemCode(cause) === 'EEXIST') throw changed(path, cause)
    throw new PgtsError('file-write', `cannot write ${path}: ${messageOf(cause)}`, {
      hints: ['nothing was changed'],
      cause,
    })
  }
}

function requireUnchanged(target: string, before: string): void {
  if (decodeText(readFileSync(textPath(target))) !== before) throw changed(target)
}

function changed(path: string, cause?: unknown): PgtsError {
  return new PgtsError('file-exists', `cannot write ${path}: another program has changed it`, {
    hints: ['nothing was changed; run init again'],
    cause,
  })
}
