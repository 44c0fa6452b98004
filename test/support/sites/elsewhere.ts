import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { giveToTestUser, makeTestDir } from '../processes/test-user.ts'
import type { Site } from './site.ts'

export type Program = 'pgts' | 'pgbackrest'

/** Names of tablespaces that are restored below the new directory. */
export interface ElsewhereOptions {
  readonly who?: Program
  readonly tablespaces?: readonly string[]
}

/**
 * Restore beside the original: into `data` of a new directory, which is returned, with each tablespace in a directory of
 * its own name beside it.
 */
export async function restoreElsewhere(
  site: Site,
  args: readonly string[] = [],
  { who = 'pgts', tablespaces = [] }: ElsewhereOptions = {},
): Promise<string> {
  const dir = makeTestDir('restored')
  for (const name of ['data', ...tablespaces]) mkdirSync(join(dir, name), { mode: 0o700 })
  giveToTestUser(dir)
  const maps = tablespaces.map((name) => `--tablespace-map=${name}=${join(dir, name)}`)
  const all = [`--pg1-path=${join(dir, 'data')}`, ...maps, ...args, 'restore']
  await (who === 'pgts' ? site.pgtsOk(...all) : site.pgbackrestOk(...all))
  return dir
}
