import { createHash } from 'node:crypto'
import { textToBytes } from '../../util/byte-string.ts'
import type { ObjectKind } from '../object/client.ts'
import type { S3Description } from './description.ts'
import { uriEncode } from './uri-encode.ts'

export type S3Headers = Readonly<Record<string, string>>

/** How a new object is to be kept: encrypted, tagged, in what class. By kind, made once. */
export function putHeaders(description: S3Description): (kind: ObjectKind) => S3Headers {
  const { storageClass = {}, tags } = description
  const common: Record<string, string> = { ...encryptionHeaders(description) }
  if (tags !== undefined) {
    const pairs = Object.entries(tags).map((pair) => pair.map((text) => uriEncode(textToBytes(text))).join('='))
    common['x-amz-tagging'] = pairs.join('&')
  }
  const inClass = (name: string | undefined) =>
    name === undefined ? common : { ...common, 'x-amz-storage-class': name }
  // Every command reads the info files and manifests: a class that charges for reading would cost more than it saves.
  const byKind: Record<ObjectKind, S3Headers> = {
    info: common,
    manifest: common,
    wal: inClass(storageClass.wal),
    data: inClass(storageClass.data),
  }
  return (kind) => byKind[kind]
}

function encryptionHeaders(description: S3Description): S3Headers {
  const { encryption } = description
  if (encryption === undefined || !('kmsKeyId' in encryption)) return customerKeyHeaders(description)
  return {
    'x-amz-server-side-encryption': 'aws:kms',
    'x-amz-server-side-encryption-aws-kms-key-id': encryption.kmsKeyId,
  }
}

/** A key that the store does not keep goes with everything that writes or reads an object. */
export function customerKeyHeaders({ encryption }: S3Description): S3Headers {
  if (encryption === undefined || !('customerKey' in encryption)) return {}
  const digest = createHash('md5').update(Buffer.from(encryption.customerKey, 'base64')).digest('base64')
  return {
    'x-amz-server-side-encryption-customer-algorithm': 'AES256',
    'x-amz-server-side-encryption-customer-key': encryption.customerKey,
    'x-amz-server-side-encryption-customer-key-md5': digest,
  }
}
