import { allProcesses, signal } from '../../test/support/processes/processes.ts'
import { makeTestDir } from '../../test/support/postgres/postgres.ts'

const CODES = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * The directory of this run. When the benchmark is interrupted, commands and background processes that work there end,
 * and servers and directories are removed as at the end of every run.
 */
export function runDirectory(): string {
  const dir = makeTestDir('bench')
  for (const [name, code] of Object.entries(CODES)) {
    process.once(name, () => {
      for (const { pid, args } of allProcesses())
        if (pid !== process.pid && args.some((arg) => arg.includes(dir))) signal(pid, 'SIGKILL')
      process.exit(code)
    })
  }
  return dir
}
