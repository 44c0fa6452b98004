import { systemClock } from '../util/clock.ts'
import { loadModule } from '../util/load-module.ts'
import type { Logger } from '../util/log.ts'
import type { StorageDriver } from './driver.ts'
import type { ObjectStoreDescription } from './description.ts'
import { addressOf, type StoreAddress } from './http/address.ts'
import { openAgents, type Agents, type HttpAccess } from './http/agents.ts'
import type { ObjectClient } from './object/client.ts'
import { retrying } from './object/retry.ts'
import { objectStorage } from './object/storage.ts'
import { s3Address } from './s3/description.ts'

/** Opens a repository in an object store. @param connections as for `openStorage` */
export async function openObjectStorage(
  description: ObjectStoreDescription,
  log: Logger,
  connections: number,
): Promise<StorageDriver> {
  const client = await openObjectClient(description, connections)
  const context = { repository: repositoryOf(description), policy: description.retry, log, clock: systemClock }
  return objectStorage(retrying(client, context), description)
}

function repositoryOf(description: ObjectStoreDescription): string {
  switch (description.kind) {
    case 'azure':
      return description.azure.repository
    case 'gcs':
      return description.gcs.repository
    case 's3':
      return description.s3.repository
  }
}

/** The client of an object store, without retries. */
async function openObjectClient(description: ObjectStoreDescription, connections: number): Promise<ObjectClient> {
  switch (description.kind) {
    case 'azure': {
      const agents = await connecting(description.azure.access, addressOf(description.azure.serviceUrl), connections)
      const { openAzureClient } = await loadModule(() => import('./azure/client.ts'))
      return openAzureClient(description.azure, agents)
    }
    case 'gcs': {
      const agents = await connecting(description.gcs.access, addressOf(description.gcs.serviceUrl), connections)
      const { openGcsClient } = await loadModule(() => import('./gcs/client.ts'))
      const client = await openGcsClient(description.gcs, agents)
      if (description.gcs.atMs === undefined) return client
      const { atPointInTime } = await loadModule(() => import('./gcs/point-in-time.ts'))
      return atPointInTime(client, description.gcs.atMs)
    }
    case 's3': {
      const address = s3Address(description.s3)
      const agents = await connecting(description.s3.access, address, connections, address.host)
      const { openS3Client } = await loadModule(() => import('./s3/client.ts'))
      const client = await openS3Client(description.s3, systemClock, agents)
      if (description.s3.atMs === undefined) return client
      const { atPointInTime } = await loadModule(() => import('./s3/point-in-time.ts'))
      return atPointInTime(client, description.s3.atMs)
    }
  }
}

async function connecting(
  access: HttpAccess,
  address: StoreAddress,
  connections: number,
  serverName?: string,
): Promise<Agents> {
  const agents = await openAgents(access, { serverName })
  agents.connectAhead(address, connections)
  return agents
}
