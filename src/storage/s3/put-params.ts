import type { PutObjectCommandInput, StorageClass } from '@aws-sdk/client-s3'
import type { ObjectKind } from '../object/client.ts'
import type { S3Description } from './description.ts'

export type PutParams = Pick<
  PutObjectCommandInput,
  'ServerSideEncryption' | 'SSEKMSKeyId' | 'SSECustomerAlgorithm' | 'SSECustomerKey' | 'Tagging' | 'StorageClass'
>
export type KeyParams = Pick<PutParams, 'SSECustomerAlgorithm' | 'SSECustomerKey'>

/** Encryption, tags and storage class of a new object, by its kind; computed once. */
export function putParams(description: S3Description): (kind: ObjectKind) => PutParams {
  const { storageClass = {}, tags } = description
  const common: PutParams = { ...encryptionParams(description) }
  if (tags !== undefined) {
    common.Tagging = Object.entries(tags)
      .map((pair) => pair.map(encodeURIComponent).join('='))
      .join('&')
  }
  // A compatible service may have classes that AWS does not have.
  const inClass = (name: string | undefined) =>
    name === undefined ? common : { ...common, StorageClass: name as StorageClass }
  // Every command reads the info files and manifests: a class that charges for reads would cost more than it saves.
  const byKind: Record<ObjectKind, PutParams> = {
    info: common,
    manifest: common,
    wal: inClass(storageClass.wal),
    data: inClass(storageClass.data),
  }
  return (kind) => byKind[kind]
}

function encryptionParams(description: S3Description): PutParams {
  const { encryption } = description
  if (encryption === undefined || !('kmsKeyId' in encryption)) return customerKeyParams(description)
  return { ServerSideEncryption: 'aws:kms', SSEKMSKeyId: encryption.kmsKeyId }
}

/** A customer key, which the store does not keep, is part of every request that writes or reads an object. */
export function customerKeyParams({ encryption }: S3Description): KeyParams {
  if (encryption === undefined || !('customerKey' in encryption)) return {}
  return { SSECustomerAlgorithm: 'AES256', SSECustomerKey: encryption.customerKey }
}
