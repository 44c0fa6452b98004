import type { Rights } from '../../core/serve/rights.ts'
import type { ServerCertificates } from '../../remote/tls/accept-tls.ts'

/** What a connection needs of the configuration: plain data, sent to its process with the accepted socket. */
export interface ServerSettings {
  readonly certificates: ServerCertificates
  readonly rights: Rights
  readonly ioTimeoutMs: number
  readonly protocolTimeoutMs: number
  /** Options that find the configuration of this host (`--config=...`), as the server was given them. */
  readonly configArguments: readonly string[]
}

/** From the server to the process of a connection. */
export type ToConnection =
  | { readonly kind: 'connection'; readonly address: string; readonly settings: ServerSettings }
  /** The configuration has changed. */
  | { readonly kind: 'close-when-idle' }

/** From the process of a connection to the server. */
export type FromConnection =
  | { readonly kind: 'ready' }
  /** It has the socket. */
  | { readonly kind: 'taken' }
  /** The client may run this command. */
  | { readonly kind: 'opened'; readonly what: string }
  /** A warning of the log. */
  | { readonly kind: 'refused'; readonly why: string }
