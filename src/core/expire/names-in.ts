import type { StoredFile } from '../../storage/driver.ts'
import { compareBytes } from '../../util/byte-string.ts'
import type { ExpireRun } from './run.ts'

/** Names of one kind directly in a directory, sorted; none when it does not exist. */
export async function namesIn(
  run: Pick<ExpireRun, 'storage' | 'signal'>,
  path: string,
  kind: StoredFile['kind'],
): Promise<string[]> {
  const names: string[] = []
  for await (const entry of run.storage.list(path, { namesOnly: true, signal: run.signal })) {
    if (entry.kind === kind) names.push(entry.name.slice(path.length + 1))
  }
  return names.sort(compareBytes)
}
