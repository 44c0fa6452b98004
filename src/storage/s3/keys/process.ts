import { execFile } from 'node:child_process'
import { PgtsError } from '../../../util/error.ts'
import { keysFromJson } from './fetched-keys.ts'
import { type FetchKeys } from './fetched-keys.ts'

const TIMEOUT_MS = 60_000

/**
 * Credentials that a program prints.
 * @see https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
 */
export function processKeys([program = '', ...args]: readonly string[]): FetchKeys {
  return () =>
    new Promise((resolve, reject) => {
      const options = { timeout: TIMEOUT_MS, maxBuffer: 1024 * 1024, encoding: 'utf8' } as const
      const child = execFile(program, args, options, (error, stdout, stderr) => {
        if (error !== null) return reject(failed(program, error, stderr))
        try {
          resolve(keysFromJson(stdout, program, (message) => new PgtsError('format', message)))
        } catch (broken) {
          reject(broken as Error)
        }
      })
      child.stdin?.end()
    })
}

/**
 * The output and the arguments of the program may contain secrets: the message shows neither, and Node's error, which
 * contains both, is not kept as the cause.
 */
function failed(program: string, error: { code?: unknown; killed?: boolean; signal?: unknown }, stderr: string) {
  const how = error.killed
    ? `took longer than ${TIMEOUT_MS / 1000} seconds`
    : typeof error.code === 'number'
      ? `ended with exit code ${error.code}`
      : `cannot run: ${String(error.code ?? error.signal)}`
  const last = stderr.trim().split('\n').at(-1) ?? ''
  return new PgtsError('execute', `the credential program ${program} ${how}${last === '' ? '' : `: ${last}`}`)
}
