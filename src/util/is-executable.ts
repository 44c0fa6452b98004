import { accessSync, constants, statSync } from 'node:fs'
import { textPath } from './byte-string.ts'

/** True for a file that this user can execute. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(textPath(path), constants.X_OK)
    return statSync(textPath(path)).isFile()
  } catch {
    return false
  }
}
