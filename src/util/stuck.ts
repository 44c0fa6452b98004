import { nativeFunction } from './native.ts'

const exit = nativeFunction('void _exit(int status)')

/**
 * Threads that were terminated but are blocked in a system call that does not return (a network file
 * system without its server). Node waits for them when the process exits, however it exits.
 */
let stuckThreads = 0

export function countStuckThread(): void {
  stuckThreads++
}

/** End this process at once if a normal exit would wait for a blocked thread. Otherwise do nothing. */
export function leaveStuckThreads(exitCode: number): void {
  if (stuckThreads > 0) leave(exitCode)
}

/** End this process if it has not ended after `ms`, so that another process can replace it. */
export function leaveAfter(ms: number, exitCode: number): void {
  setTimeout(() => leave(exitCode), ms).unref()
}

function leave(exitCode: number): void {
  try {
    // Not exit(), which runs handlers, and one of Node's joins the threads.
    exit().call(exitCode)
  } catch {
    // Without koffi the process can end, but not with this exit code.
    process.kill(process.pid, 'SIGKILL')
  }
}
