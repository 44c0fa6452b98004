import type { StorageDriver } from '../../storage/driver.ts'
import { getFile } from '../../storage/whole-file.ts'
import { copyName } from '../../format/repo-path.ts'
import { isHostError, isPgtsError, isStoreError, messageOf } from '../../util/error.ts'
import type { InfoCipher } from '../info-cipher.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'

export interface InspectedPair<T> {
  /** From the file, or from its copy if the file is unusable. */
  readonly value?: T
  /** The file itself does not exist. */
  readonly mainMissing: boolean
  /** One message for each faulty file. */
  readonly faults: readonly string[]
}

interface Read<T> {
  readonly text?: Buffer
  readonly value?: T
  readonly missing?: boolean
  readonly fault?: string
}

/** Reads an info file and its copy separately: other commands need only one of them, but verify checks both. */
export async function inspectPair<T>(
  storage: StorageDriver,
  name: ByteString,
  cipher: InfoCipher,
  parse: (bytes: Buffer) => T,
  signal: AbortSignal,
): Promise<InspectedPair<T>> {
  const read = async (file: ByteString): Promise<Read<T>> => {
    try {
      const text = cipher.open(await getFile(storage, file, { signal }), file)
      return { text, value: parse(text) }
    } catch (error) {
      signal.throwIfAborted()
      // A failure of the store or of this process says nothing about a file.
      if (isStoreError(error) || isHostError(error)) throw error
      const missing = isPgtsError(error, 'file-missing')
      return {
        missing,
        fault: missing
          ? `${bytesToText(file)} does not exist`
          : `${bytesToText(file)} cannot be used: ${messageOf(error)}`,
      }
    }
  }
  const [main, copy] = await Promise.all([read(name), read(copyName(name))])
  const faults = [main, copy].flatMap(({ fault }) => (fault === undefined ? [] : [fault]))
  if (main.text !== undefined && copy.text !== undefined && !main.text.equals(copy.text)) {
    faults.push(
      `${bytesToText(copyName(name))} differs from ${bytesToText(name)}: a command was interrupted between the two`,
    )
  }
  const value = main.value ?? copy.value
  return { value, mainMissing: main.missing === true, faults }
}
