import type { StorageDescription } from './description.ts'
import { addressOf, type StoreAddress } from './http/address.ts'
import type { HttpAccess } from './http/agents.ts'
import { s3Address } from './s3/description.ts'

/** How an object store is reached. The access may contain the password of a proxy. */
export interface StoreEndpoint {
  readonly address: StoreAddress
  readonly access: HttpAccess
}

/** undefined: it is not an object store. */
export function storeEndpoint(description: StorageDescription): StoreEndpoint | undefined {
  switch (description.kind) {
    case 'azure':
      return { address: addressOf(description.azure.serviceUrl), access: description.azure.access }
    case 'gcs':
      return { address: addressOf(description.gcs.serviceUrl), access: description.gcs.access }
    case 's3':
      return { address: s3Address(description.s3), access: description.s3.access }
    default:
      return undefined
  }
}
