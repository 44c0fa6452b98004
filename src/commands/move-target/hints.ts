import { readSmallFile } from '../../core/restore/file-system.ts'
import type { RecoveryTarget } from '../../core/restore/recovery-target.ts'
import { bytes, bytesToText, type ByteString } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'

/** The restore that reaches an earlier target. */
export function commandThatGoesBack(
  { options, stanza }: CommandContext<'move-target'>,
  target: RecoveryTarget | undefined,
): string {
  const words = target === undefined ? '' : ` --type=${options.type} --target='${bytesToText(target.text)}'`
  return `pgts --stanza=${stanza} --delta${words} restore`
}

/** How the server of this directory is restarted with the pg_ctl that started it. */
export function restartHint(pgPath: ByteString): string {
  const options = readSmallFile(bytes`${pgPath}/postmaster.opts`)?.toString('utf8') ?? ''
  const program = /^(\S+)\/postgres\b/.exec(options)?.[1]
  return `${program === undefined ? '' : `${program}/`}pg_ctl -D '${bytesToText(pgPath)}' restart`
}
