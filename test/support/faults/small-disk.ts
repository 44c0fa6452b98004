import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { atEnd, giveToTestUser, makeTestDir } from '../processes/test-user.ts'

/**
 * A file system of this size (as mount takes it: `12m`) that is mounted for the test file; undefined where we may not
 * mount, which only root may.
 *
 * @param files maximum number of files; absent: limited by space only
 */
export function smallDisk(size: string, files?: number): string | undefined {
  const path = join(makeTestDir('disk'), 'mounted')
  mkdirSync(path)
  if (process.getuid?.() !== 0) return undefined
  const options = `size=${size},mode=0755${files === undefined ? '' : `,nr_inodes=${files}`}`
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'pgts-test', path])
  if (mount.status !== 0) return undefined
  atEnd(() => spawnSync('umount', ['-l', path]))
  giveToTestUser(path)
  return path
}
