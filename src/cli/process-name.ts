import { writeFileSync } from 'node:fs'

/**
 * Sets the name by which `ps`, `pkill --exact` and `top` know this process, which would be `node`. The arguments stay visible,
 * unlike with `process.title`, which is used without /proc.
 */
export function setProcessName(name: string): void {
  try {
    writeFileSync('/proc/self/comm', name)
  } catch {
    process.title = name
  }
}
