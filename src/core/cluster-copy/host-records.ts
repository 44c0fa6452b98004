import { ownPath } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { bytes, type ByteString } from '../../util/byte-string.ts'
import type { HostIdentity } from '../../util/host-place.ts'
import { messageOf } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'

/**
 * The hosts that archived or backed up a stanza, one small file for each in the repository. A restore on any other host
 * leaves a copy. A missing record only means that a restore on this host asks for `archive-allow`.
 */
export type RecordedHost = HostIdentity

function hostsPath(stanza: string): string {
  return `${ownPath(stanza)}/hosts`
}

function recordName(stanza: string, id: string): ByteString {
  return bytes`${hostsPath(stanza)}/${id}.json`
}

export interface HostRecordRequest {
  readonly storage: StorageDriver
  readonly stanza: string
  readonly host: HostIdentity
  readonly nowMs: number
  readonly log: Logger
  readonly signal: AbortSignal
}

/** Records this host once. A failure is logged and does not end the command, which has done its own work. */
export async function recordHost({ storage, stanza, host, nowMs, log, signal }: HostRecordRequest): Promise<void> {
  const name = recordName(stanza, host.id)
  try {
    if ((await storage.stat(name, { signal })) !== undefined) return
    const text = JSON.stringify({ version: VERSION, host: host.name, sinceMs: nowMs })
    await putFile(storage, name, Buffer.from(`${text}\n`), { signal })
  } catch (error) {
    signal.throwIfAborted()
    log.detail(`cannot record this host in ${storage.display}: ${messageOf(error)}`)
  }
}

const VERSION = 1
const MOST_HOSTS = 100

/**
 * The recorded hosts; empty if none is recorded. @param own this host: if it is recorded, no record is read, because only
 * messages about other hosts need names
 */
export async function recordedHosts(
  storage: StorageDriver,
  stanza: string,
  own: HostIdentity,
  signal: AbortSignal,
): Promise<readonly RecordedHost[]> {
  const ids: string[] = []
  for await (const { name } of storage.list(hostsPath(stanza), { signal, namesOnly: true })) {
    const id = /([0-9a-f]{32})\.json$/.exec(name)?.[1]
    if (id !== undefined) ids.push(id)
    if (id === own.id) return [own]
    if (ids.length === MOST_HOSTS) break
  }
  return Promise.all(ids.map(async (id) => ({ id, name: await nameOf(storage, recordName(stanza, id), signal) })))
}

async function nameOf(storage: StorageDriver, name: ByteString, signal: AbortSignal): Promise<string> {
  try {
    const value = JSON.parse((await getFile(storage, name, { signal }, 4096)).toString('utf8')) as { host?: unknown }
    if (typeof value.host === 'string') return value.host.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '?').slice(0, 64)
  } catch {
    signal.throwIfAborted()
    // The name is for messages only.
  }
  return '(unknown)'
}
