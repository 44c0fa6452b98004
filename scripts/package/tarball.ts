import { basename, dirname, join } from 'node:path'
import { run } from './shell.ts'

/**
 * Pack a payload with its runtime: it runs from the directory where it is unpacked.
 *
 * @returns path of the tarball in `out`
 */
export function packTarball(payload: string, out: string): string {
  const name = basename(payload)
  const path = join(out, `${name}-linux-x64.tar.xz`)
  const owner = ['--owner=root', '--group=root', '--numeric-owner', '--sort=name']
  run('tar', ['-C', dirname(payload), ...owner, '-I', 'xz -3 -T2', '-cf', path, name])
  return path
}
