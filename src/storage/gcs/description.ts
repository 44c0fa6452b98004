import type { HttpAccess } from '../http/agents.ts'

/**
 * A bucket of Google Cloud Storage as plain data, so that a worker thread can open its own client. Contains secrets.
 */
export interface GcsDescription {
  readonly bucket: string
  /** URL of the JSON API, without a slash at the end: `https://storage.googleapis.com`. */
  readonly serviceUrl: string
  readonly credential: GcsCredentialDescription
  /** Project that pays for requests to a bucket whose requester pays. */
  readonly userProject?: string
  /** Custom metadata of every object. */
  readonly tags?: Readonly<Record<string, string>>
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  /** Read the versioned bucket as it was at this time; milliseconds since the epoch. */
  readonly atMs?: number
  readonly access: HttpAccess
  /** Prefix of the options of this repository, for hints: `repo1`. */
  readonly repository: string
}

export type GcsCredentialDescription =
  /** Path of a service account key in JSON. */
  | { readonly type: 'service'; readonly keyFile: string }
  /** An access token that another program renews. */
  | { readonly type: 'token'; readonly token: string }
  /** Path of the credential file of an external account in JSON (workload identity federation). */
  | { readonly type: 'web-id'; readonly accountFile: string }
  /** The service account of the machine. `metadata`: host (and port) of another metadata service. */
  | { readonly type: 'auto'; readonly metadata?: string }
