import { logTo, openHost, type HostDescription } from '../../remote/host.ts'
import type { Logger } from '../../util/log.ts'
import { RemoteStorage } from './driver.ts'

/** Starts a process on the host of the repository, and opens the storage through it. */
export async function openRemoteStorage(host: HostDescription, log: Logger): Promise<RemoteStorage> {
  const { connection, answer } = await openHost(host, { onLog: logTo(log) })
  return new RemoteStorage(connection, host.host, answer)
}
