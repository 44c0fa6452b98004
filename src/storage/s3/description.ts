import { isIPv6 } from 'node:net'
import type { StoreAddress } from '../http/address.ts'
import type { HttpAccess } from '../http/agents.ts'

/** A bucket as plain data, so that a worker thread can open its own client. Contains secrets: never print it. */
export interface S3Description {
  readonly bucket: string
  readonly region: string
  /** The host of the service, and another host to connect to, if set. */
  readonly endpoint: S3Endpoint
  /** Name of the service in signatures: `s3`, `s3-outposts`. */
  readonly service: string
  readonly keys: S3Keys
  readonly access: HttpAccess
  /** Server-side encryption of objects; absent: the default of the bucket. `customerKey` is base64 of 32 bytes. */
  readonly encryption?: { readonly kmsKeyId: string } | { readonly customerKey: string }
  readonly tags?: Readonly<Record<string, string>>
  readonly requesterPays: boolean
  /**
   * Storage class of backup data and WAL; absent: the default of the store. Info files and manifests always use the
   * default.
   */
  readonly storageClass?: { readonly data?: string; readonly wal?: string }
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  /** Read the versioned bucket as it was at this time; milliseconds since the epoch. */
  readonly atMs?: number
  /** Directory for a file that records what the store refuses; absent: each process detects it again. */
  readonly memoryPath?: string
  /** Prefix of the options of this repository, for hints: `repo1`. */
  readonly repository: string
}

export interface S3Endpoint {
  readonly secure: boolean
  readonly uriStyle: 'host' | 'path'
  /** `s3.eu-central-1.amazonaws.com`; goes into the Host header. */
  readonly host: string
  /** Host to connect to and whose certificate is expected, if it is another. */
  readonly connectHost?: string
  /** Absent: the default port of the scheme. */
  readonly port?: number
}

/** Source of the credentials. Names and URLs that a platform sets in the environment have been read from there. */
export type S3Keys =
  | { readonly type: 'shared'; readonly key: string; readonly secret: string; readonly token?: string }
  /** The machine's role. `metadata`: the metadata service, for example `http://169.254.169.254`. */
  | { readonly type: 'instance'; readonly metadata: string; readonly role?: string }
  /** The role of a container: a URL that returns credentials in exchange for the token. */
  | { readonly type: 'container'; readonly url: string; readonly token?: string; readonly tokenFile?: string }
  /** `stsUrl`: `https://sts.amazonaws.com`. */
  | { readonly type: 'web-id'; readonly stsUrl: string; readonly role: string; readonly tokenFile: string }
  | { readonly type: 'process'; readonly command: readonly string[] }

/** Host name of the bucket, as in the Host header. */
export function hostOf({ endpoint, bucket }: Pick<S3Description, 'endpoint' | 'bucket'>): string {
  return endpoint.uriStyle === 'host' ? `${bucket}.${endpoint.host}` : endpoint.host
}

/** The address to connect to. */
export function s3Address(description: S3Description): StoreAddress {
  const { secure, connectHost, port } = description.endpoint
  return { secure, host: connectHost ?? hostOf(description), port: port ?? (secure ? 443 : 80) }
}

/** URL of the bucket with the host that goes into the Host header. */
export function bucketUrl({ endpoint, bucket }: S3Description): URL {
  const { secure, uriStyle, port } = endpoint
  const host = bracketed(hostOf({ endpoint, bucket }))
  const url = `${secure ? 'https' : 'http'}://${host}${port === undefined ? '' : `:${port}`}`
  return new URL(uriStyle === 'path' ? `${url}/${encodeURIComponent(bucket)}` : url)
}

export function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
