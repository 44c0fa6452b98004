import { decrypt, encrypt, isEncrypted } from '../../codec/cipher.ts'
import { backupInfoName, drillPath } from '../../format/repo-path.ts'
import { getFile, putFile, removeFiles, removeUnlessDenied } from '../../storage/whole-file.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import { isPgtsError, PgtsError } from '../../util/error.ts'
import { inParallel } from '../../util/parallel.ts'
import type { Repository } from '../repository.ts'
import { parseDrill, serialiseDrill, type DrillRecord } from './record.ts'

/** Older records are removed. */
export const MOST_DRILLS = 100

const MOST_BYTES = 1024 * 1024

/**
 * The records of drills of a stanza in one repository, newest first. Those that this version cannot read are left out.
 *
 * @param most at most so many
 * @throws errors of the storage
 */
export async function listDrills(
  repository: Repository,
  stanza: string,
  { signal, most = MOST_DRILLS }: { readonly signal: AbortSignal; readonly most?: number },
): Promise<DrillRecord[]> {
  const names = (await recordNames(repository, stanza, signal)).slice(0, most)
  const { parallel = 1 } = repository.storage
  const records = await inParallel(names, parallel, (name) => loadRecord(repository, name, signal))
  return records.filter((record) => record !== undefined)
}

/** The newest record. @throws errors of the storage */
export async function lastDrill(
  repository: Repository,
  stanza: string,
  signal: AbortSignal,
): Promise<DrillRecord | undefined> {
  return (await listDrills(repository, stanza, { signal, most: 1 }))[0]
}

/** The newest record, and the newest of a drill that passed. @throws errors of the storage */
export async function latestDrills(
  repository: Repository,
  stanza: string,
  signal: AbortSignal,
): Promise<{ readonly last?: DrillRecord; readonly passed?: DrillRecord }> {
  const last = await lastDrill(repository, stanza, signal)
  if (last === undefined || last.result === 'passed') return { last, passed: last }
  const drills = await listDrills(repository, stanza, { signal })
  return { last, passed: drills.find(({ result }) => result === 'passed') }
}

/**
 * Adds a record, and removes the oldest ones.
 *
 * @throws PgtsError path-missing if the stanza is gone, because nothing may be created in an unmounted directory; errors of the storage
 */
export async function saveDrill(
  repository: Repository,
  stanza: string,
  record: DrillRecord,
  signal: AbortSignal,
): Promise<void> {
  const { storage, cipher } = repository
  if ((await storage.stat(backupInfoName(stanza), { signal })) === undefined) {
    throw new PgtsError('path-missing', `cannot record the drill: ${storage.display} no longer has the stanza`)
  }
  const text = serialiseDrill(record)
  const content = cipher === undefined ? text : encrypt(text, cipher.passphrase())
  await putFile(storage, recordName(stanza, record), content, { signal })
  const old = (await recordNames(repository, stanza, signal)).slice(MOST_DRILLS)
  await removeUnlessDenied(removeFiles(storage, old, { signal }), () => undefined)
}

/** `pgts/main/drill/20261130T190841.123Z.json`: names sort by time. */
function recordName(stanza: string, { startedMs }: DrillRecord): ByteString {
  const time = new Date(startedMs).toISOString().replaceAll(/[-:]/g, '')
  return bytes`${drillPath(stanza)}/${time}.json`
}

/** Newest first. */
async function recordNames({ storage }: Repository, stanza: string, signal: AbortSignal): Promise<ByteString[]> {
  const names: ByteString[] = []
  for await (const { name } of storage.list(drillPath(stanza), { signal, namesOnly: true })) {
    if (/\/\d{8}T\d{6}\.\d{3}Z\.json$/.test(name)) names.push(name)
  }
  return names.sort().reverse()
}

async function loadRecord(
  { storage, cipher }: Repository,
  name: ByteString,
  signal: AbortSignal,
): Promise<DrillRecord | undefined> {
  try {
    const stored = await getFile(storage, name, { signal }, MOST_BYTES)
    if (isEncrypted(stored) !== (cipher !== undefined)) return undefined
    return parseDrill((cipher === undefined ? stored : decrypt(stored, cipher.passphrase())).toString())
  } catch (error) {
    // Another drill can have removed it as too old.
    const isUnusable = (['file-missing', 'crypto', 'file-invalid'] as const).some((code) => isPgtsError(error, code))
    if (isUnusable) return undefined
    throw error
  }
}
