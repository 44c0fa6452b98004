import type { StoreAddress } from '../http/address.ts'
import type { HttpAccess } from '../http/agents.ts'

/** A bucket as plain data, so that a worker thread can open its own client. Holds secrets: it is never shown whole. */
export interface S3Description {
  readonly bucket: string
  readonly region: string
  /** Where the service is: the host that requests are meant for, and where to connect instead, if elsewhere. */
  readonly endpoint: S3Endpoint
  /** Name of the service in signatures: `s3`, `s3-outposts`. */
  readonly service: string
  readonly keys: S3Keys
  readonly access: HttpAccess
  /** How the store encrypts what it keeps; absent: as the bucket says. `customerKey` is base64 of 32 bytes. */
  readonly encryption?: { readonly kmsKeyId: string } | { readonly customerKey: string }
  readonly tags?: Readonly<Record<string, string>>
  readonly requesterPays: boolean
  /** Storage class of backup data and WAL; absent: the store's usual one. Info files and manifests are always there. */
  readonly storageClass?: { readonly data?: string; readonly wal?: string }
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  /** Read the bucket, which keeps versions, as it was at this time; milliseconds since the epoch. */
  readonly atMs?: number
  /** Directory to remember in what the store refuses; absent: each process finds out again. */
  readonly memoryPath?: string
  /** How the options of this repository begin, for advice: `repo1`. */
  readonly repository: string
}

export interface S3Endpoint {
  readonly secure: boolean
  readonly uriStyle: 'host' | 'path'
  /** `s3.eu-central-1.amazonaws.com`; goes into the Host header. */
  readonly host: string
  /** Host to connect to and whose certificate is expected, when it is another. */
  readonly connectHost?: string
  /** Absent: the usual one of the scheme. */
  readonly port?: number
}

/** Where the keys come from. Names and URLs that a platform announces in the environment were read from there. */
export type S3Keys =
  | { readonly type: 'shared'; readonly key: string; readonly secret: string; readonly token?: string }
  /** The machine's role. `metadata`: the metadata service, for example `http://169.254.169.254`. */
  | { readonly type: 'instance'; readonly metadata: string; readonly role?: string }
  /** A container's role: a URL that hands out keys to who shows the token. */
  | { readonly type: 'container'; readonly url: string; readonly token?: string; readonly tokenFile?: string }
  /** `stsUrl`: `https://sts.amazonaws.com`. */
  | { readonly type: 'web-id'; readonly stsUrl: string; readonly role: string; readonly tokenFile: string }
  | { readonly type: 'process'; readonly command: readonly string[] }

/** The name of the bucket for the outside: it goes into the Host header. */
export function hostOf({ endpoint, bucket }: Pick<S3Description, 'endpoint' | 'bucket'>): string {
  return endpoint.uriStyle === 'host' ? `${bucket}.${endpoint.host}` : endpoint.host
}

/** Where to connect. */
export function s3Address(description: S3Description): StoreAddress {
  const { secure, connectHost, port } = description.endpoint
  return { secure, host: connectHost ?? hostOf(description), port: port ?? (secure ? 443 : 80) }
}
