import type { StoredFile } from '../../storage/driver.ts'
import { compareBytes, type ByteString } from '../../util/byte-string.ts'
import type { ExpireRun } from './expire-run.ts'

/** Names directly in a directory by kind, each list sorted; empty if it does not exist. */
export async function listNames(
  run: Pick<ExpireRun, 'storage' | 'signal'>,
  path: string,
): Promise<Readonly<Record<StoredFile['kind'], readonly ByteString[]>>> {
  const names: Record<StoredFile['kind'], ByteString[]> = { file: [], path: [], link: [] }
  for await (const { name, kind } of run.storage.list(path, { namesOnly: true, signal: run.signal }))
    names[kind].push(name.slice(path.length + 1))
  for (const kind of Object.values(names)) kind.sort(compareBytes)
  return names
}

/** Names of one kind. */
export async function namesIn(
  run: Pick<ExpireRun, 'storage' | 'signal'>,
  path: string,
  kind: StoredFile['kind'],
): Promise<ByteString[]> {
  return [...(await listNames(run, path))[kind]]
}
