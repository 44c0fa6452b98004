import { closeSync, constants, readFileSync } from 'node:fs'
import { pathOf, type ByteString } from '../../../util/byte-string.ts'
import { systemCode } from '../../../util/error.ts'
import { openOwnFile, readBounded } from '../../../util/own-file.ts'

/**
 * Answer a request, then kill the `sleep` of its launcher, which looks for the answer when that has ended. The last line of
 * the request is the process id of the sleep. If it is not there yet, the launcher looks before it waits.
 *
 * @param path of the request before the answer
 * @param launcher its process id
 * @param answer renames or removes the request
 * @throws the system's error
 */
export function answerLauncher(path: ByteString, launcher: number, answer: () => void): void {
  const request = openRequest(path)
  if (request === undefined) return answer()
  try {
    answer()
    wake(launcher, readBounded(request))
  } finally {
    closeSync(request)
  }
}

/** @returns undefined: the launcher has removed its request */
function openRequest(path: ByteString): number | undefined {
  try {
    return openOwnFile(pathOf(path), constants.O_RDONLY)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

function wake(launcher: number, request: Buffer): void {
  const sleep = Number(request.toString('latin1').trimEnd().split('\n').at(-1))
  try {
    if (isChildOf(sleep, launcher)) process.kill(sleep, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

/** If the launcher has been killed, another process may have got the id of its child. */
function isChildOf(pid: number, parent: number): boolean {
  if (!Number.isInteger(pid) || pid <= 1) return false
  try {
    // After the name, which may contain anything: state and parent.
    const [, of] = /\) \S (\d+) [^)]*$/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1')) ?? []
    return Number(of) === parent
  } catch {
    return false
  }
}
