import type { StorageDriver } from '../../storage/driver.ts'
import { copyName } from '../../format/repo-path.ts'
import { isHostError, isPgtsError, isStoreError, messageOf } from '../../util/error.ts'
import type { InfoCipher } from '../info-cipher.ts'
import { getInfoFile } from '../info-pair.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'

export interface InspectedPair<T> {
  /** From the file, or from its copy if the file is unusable. */
  readonly value?: T
  /** The file itself does not exist. */
  readonly mainMissing: boolean
  /** One message for each faulty file. */
  readonly faults: readonly string[]
}

interface Failure {
  readonly missing?: boolean
  /** Why it cannot be used. */
  readonly reason?: string
}

interface Opened extends Failure {
  readonly text?: Buffer
}

interface Read<T> extends Failure {
  readonly value?: T
}

/** Reads an info file and its copy separately: other commands need only one of them, but verify checks both. */
export async function inspectPair<T>(
  storage: StorageDriver,
  name: ByteString,
  cipher: InfoCipher,
  parse: (bytes: Buffer) => T,
  signal: AbortSignal,
): Promise<InspectedPair<T>> {
  const open = async (file: ByteString): Promise<Opened> => {
    try {
      return { text: cipher.open(await getInfoFile(storage, file, { signal }), file) }
    } catch (error) {
      return { ...failureOf(error, signal) }
    }
  }
  const parsed = ({ text, ...failed }: Opened): Read<T> => {
    if (text === undefined) return failed
    try {
      return { value: parse(text) }
    } catch (error) {
      return { ...failureOf(error, signal) }
    }
  }
  const [main, copy] = await Promise.all([open(name), open(copyName(name))])
  // Usually the files are equal, and one of them is parsed. A manifest may have a million lines.
  const differ = main.text !== undefined && copy.text !== undefined && !main.text.equals(copy.text)
  const readMain = parsed(main)
  const readCopy = main.text === undefined || copy.text === undefined || differ ? parsed(copy) : readMain
  const faults = [...faultOf(name, readMain), ...faultOf(copyName(name), readCopy)]
  if (differ) {
    faults.push(
      `${bytesToText(copyName(name))} differs from ${bytesToText(name)}: a command was interrupted between the two`,
    )
  }
  const value = readMain.value ?? readCopy.value
  return { value, mainMissing: readMain.missing === true, faults }
}

/** @throws the error if it is a failure of the store or of this process, which says nothing about a file */
function failureOf(error: unknown, signal: AbortSignal): Failure {
  signal.throwIfAborted()
  if (isStoreError(error) || isHostError(error)) throw error
  return { missing: isPgtsError(error, 'file-missing'), reason: messageOf(error) }
}

function faultOf(file: ByteString, { missing, reason }: Failure): string[] {
  if (missing === true) return [`${bytesToText(file)} does not exist`]
  return reason === undefined ? [] : [`${bytesToText(file)} cannot be used: ${reason}`]
}
