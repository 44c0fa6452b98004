import { buildSync } from 'esbuild'
import { join } from 'node:path'
import { makeTestDir, projectRoot } from '../processes/test-user.ts'

let program: string | undefined

/** The bundle of `serving-entry.ts`, at a path that every user can read. */
export function servingProgram(): string {
  if (program !== undefined) return program
  program = join(makeTestDir('serving'), 'serving.mjs')
  buildSync({
    entryPoints: [join(projectRoot, 'test/support/remote/serving-entry.ts')],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile: program,
    logLevel: 'warning',
  })
  return program
}
