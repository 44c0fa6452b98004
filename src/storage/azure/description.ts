import type { HttpAccess } from '../http/agents.ts'

/** A container of Azure Blob Storage as plain data, so that a worker thread can open its own client. Holds secrets. */
export interface AzureDescription {
  readonly account: string
  readonly container: string
  /**
   * URL of the account, without a slash at the end: `https://name.blob.core.windows.net`, or
   * `http://127.0.0.1:10000/name` in path style.
   */
  readonly serviceUrl: string
  readonly credential: AzureCredentialDescription
  /** Index tags for every blob. */
  readonly tags?: Readonly<Record<string, string>>
  /** Wanted size of the parts of an upload, bytes. */
  readonly partBytes: number
  readonly access: HttpAccess
  /** Prefix of the options of this repository, for hints: `repo1`. */
  readonly repository: string
}

export type AzureCredentialDescription =
  /** `key`: base64. */
  | { readonly type: 'shared'; readonly key: string }
  /** `token`: the query string of a shared access signature, with or without '?'. */
  | { readonly type: 'sas'; readonly token: string }
  | ({ readonly type: 'auto' } & ManagedIdentity)

/** The identity that Azure gave this machine, container or app. */
export interface ManagedIdentity {
  /**
   * Endpoint that App Service and Functions provide in the environment; absent: the metadata service of the machine.
   */
  readonly service?: { readonly endpoint: string; readonly header: string }
  /** Selects one identity if the machine has several. */
  readonly clientId?: string
}
