import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { isInstalled } from '../support/processes/test-user.ts'
import { QUIET, waitingSite } from '../support/sites/resident.ts'

/** Steps of a get, as system calls of the resident process: it is killed when it begins one. `%` is its process id. */
const STEPS: readonly (readonly [step: string, call: string, path?: string])[] = [
  ['it takes the request', 'rename'],
  ['it opens archive.info', 'openat', 'repo/archive/main/archive.info'],
  ['it creates the file', 'openat', 'RECOVERYXLOG.%.pgts.tmp'],
  ['it writes the file', 'write,pwrite64', 'RECOVERYXLOG.%.pgts.tmp'],
  ['it gives the file its name', 'renameat2'],
  ['it answers', 'rename:2'],
]

test.skipIf(!isInstalled('strace'))(
  'a get whose resident process is killed at any step gives PostgreSQL the right segment, and so does the next call',
  { timeout: 300_000 },
  async () => {
    const { site, calls, more, next } = await waitingSite()
    await using _site = site
    await more(2)
    const name = next()
    expect(await calls.push(name)).toMatchObject(QUIET)
    for (const [step, call, file] of STEPS) {
      const pid = await calls.warmGet(name)
      const tail = file?.replace('%', String(pid))
      const path =
        tail === undefined ? undefined : join(tail.startsWith('repo') ? site.dir : join(calls.target, '..'), tail)
      const killer = await KillingTrace.attach(pid, call, path)
      // Compared with the archive.
      expect(await calls.get(name), step).toMatchObject({ ...QUIET, node: true })
      expect(await killer.ended, step).toBe('killed')
      await calls.untilEnded(pid)
      // Node removed what the process has left.
      expect(readdirSync(join(calls.target, '..')).filter((found) => found.startsWith('RECOVERYXLOG.'))).toEqual([])
    }
    expect(await calls.get('0000000900000000000000FF')).toMatchObject({ ...QUIET, code: 1 })
  },
)

class KillingTrace {
  private constructor(readonly ended: Promise<'killed' | 'ended otherwise'>) {}

  /** @param call names, and the number of calls that one thread makes until it is killed */
  static async attach(pid: number, call: string, path: string | undefined): Promise<KillingTrace> {
    const [names = '', when = '1'] = call.split(':')
    const words = ['-f', '-p', String(pid), '-e', `trace=${names}`, '-e', `inject=${names}:signal=SIGKILL:when=${when}`]
    const child = spawn('strace', [...words, ...(path === undefined ? [] : ['-P', path])], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let output = ''
    return new Promise((resolve, reject) => {
      child.once('error', reject)
      const ended = new Promise<'killed' | 'ended otherwise'>((end) => {
        child.once('close', () => {
          end(/killed by SIGKILL/.test(output) ? 'killed' : 'ended otherwise')
          reject(new Error(output))
        })
      })
      child.stderr.on('data', (text: Buffer) => {
        output += text.toString()
        if (/attached/.test(output)) resolve(new KillingTrace(ended))
      })
    })
  }
}
