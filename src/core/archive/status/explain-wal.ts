import type { ServerConnection } from '../../../postgres/client.ts'
import type { WalRequest } from '../../../postgres/cluster-access.ts'
import { readArchivingFacts, type ArchivingPlace } from './archiving-facts.ts'
import { diagnose } from './diagnose.ts'

/**
 * The diagnosis for a command that timed out waiting for WAL: why this segment was not archived. Without the server, files
 * provide a part of the facts.
 */
export async function explainWal(
  place: ArchivingPlace,
  segment: string,
  { patienceMs, server, nowMs }: WalRequest & { readonly nowMs: number },
): Promise<readonly string[]> {
  const ask = (connection?: ServerConnection) => readArchivingFacts(place, nowMs, connection)
  const facts = await ask(server).catch(() => ask())
  return diagnose(facts, { segment, patienceMs }).map(({ text }) => text)
}
