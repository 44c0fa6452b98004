import { readArchivingFacts } from '../../core/archive/status/archiving-facts.ts'
import { diagnose } from '../../core/archive/status/diagnose.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { CommandContext } from '../context.ts'
import type { ByteString } from '../../util/byte-string.ts'

/**
 * The diagnosis for a command that timed out waiting for WAL: why this segment was not archived.
 *
 * @param pgPath data directory of the server that archives, byte string
 */
export function walExplainer(
  ctx: CommandContext<'archive-push' | 'backup' | 'check'>,
  pgPath: ByteString,
  server: ServerConnection | undefined,
): (segment: string) => Promise<readonly string[]> {
  const { options, stanza, program, clock } = ctx
  const place = { stanza, program, pgPath, spoolPath: options.spoolPath, lockPath: options.lockPath }
  return async (segment) => {
    const ask = (connection?: ServerConnection) => readArchivingFacts(place, clock.nowMs(), connection)
    // Without the server, files provide a part of the facts.
    const facts = await ask(server).catch(() => ask())
    return diagnose(facts, { segment, patienceMs: options.archiveTimeout }).map(({ text }) => text)
  }
}
