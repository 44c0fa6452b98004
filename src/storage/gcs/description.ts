import type { HttpAccess } from '../http/agents.ts'

/** A bucket of Google Cloud Storage as plain data, so that a worker thread can open its own client. Holds secrets. */
export interface GcsDescription {
  readonly bucket: string
  /** Where the JSON API answers, without a slash at the end: `https://storage.googleapis.com`. */
  readonly serviceUrl: string
  readonly credential: GcsCredentialDescription
  /** Project that pays for requests to a bucket whose requester pays. */
  readonly userProject?: string
  /** Custom metadata of every object. */
  readonly tags?: Readonly<Record<string, string>>
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  /** Read the bucket, which keeps versions, as it was at this time; milliseconds since the epoch. */
  readonly atMs?: number
  readonly access: HttpAccess
  /** How the options of this repository begin, for advice: `repo1`. */
  readonly repository: string
}

export type GcsCredentialDescription =
  /** Path of a service account's key in JSON. */
  | { readonly type: 'service'; readonly keyFile: string }
  /** An access token that somebody else renews. */
  | { readonly type: 'token'; readonly token: string }
  /** The service account of the machine. `metadata`: host (and port) of the metadata service, when it is another. */
  | { readonly type: 'auto'; readonly metadata?: string }
