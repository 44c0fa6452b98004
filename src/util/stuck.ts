import { requireModule } from './load-module.ts'
/**
 * Threads that were ended and did not end, because they are in a system call that does not return (a network file
 * system whose server is gone). Node waits for them when a process exits, whichever way it is told to.
 */
let stuckThreads = 0

export function countStuckThread(): void {
  stuckThreads++
}

/** Leave this process at once when its usual end would wait for a thread that is stuck. Otherwise nothing happens. */
export function leaveStuckThreads(exitCode: number): void {
  if (stuckThreads > 0) leave(exitCode)
}

/** For a process that is about to end and whose place another has to take: leave when it has not ended after `ms`. */
export function leaveAfter(ms: number, exitCode: number): void {
  setTimeout(() => leave(exitCode), ms).unref()
}

function leave(exitCode: number): void {
  try {
    // Not exit(), which runs handlers, and one of Node's joins the threads.
    requireModule<typeof import('koffi')>('koffi').load(null).func('void _exit(int status)')(exitCode)
  } catch {
    // Without koffi there is no way to give the exit code, and the process must end.
    process.kill(process.pid, 'SIGKILL')
  }
}
