import type { ByteSink, ByteSource } from '../util/bytes.ts'
import type { MessageLevel } from '../util/log.ts'
import type { BodyReceiver } from './body-receiver.ts'
import type { BodySender } from './body-sender.ts'
import type { ProtocolRange } from './greeting.ts'
import type { CallVerb, DownloadVerb, RowsVerb, UploadVerb } from './verb.ts'
import type { Value } from './value.ts'

/**
 * Requests and their bodies between two processes, in both directions: after the greeting both ends are equal. When the
 * connection ends, everything that waits for the other end rejects with `host-connect`.
 */
export interface Connection extends AsyncDisposable {
  /** The number that both ends use. */
  readonly protocol: number
  readonly peerVersion: string
  /** For messages: `remote-1 ssh protocol on 'HOST'`. */
  readonly display: string
  /** Aborted with the error that ended the connection: `host-connect`, or `protocol` for a faulty other end. */
  readonly signal: AbortSignal
  /** Resolves when the connection and all handlers that were running have ended. Never rejects. */
  readonly ended: Promise<void>
  /** Adds verbs that this end serves. */
  serve(handlers: readonly Handler[]): void
  /** Replaces the limits of this end. */
  limitSilence(limits: SilenceLimits): void
  call<Q, A>(verb: CallVerb<Q, A>, request: Q, options?: RequestOptions): Promise<A>
  /** Returns at once: errors come from `sink` and `finish`. */
  upload<Q, E, A>(verb: UploadVerb<Q, E, A>, request: Q, options?: RequestOptions): Upload<E, A>
  download<Q, A>(verb: DownloadVerb<Q, A>, request: Q, options?: RequestOptions): Promise<Download<A>>
  rows<Q, A, I>(verb: RowsVerb<Q, A, I>, request: Q, options?: RequestOptions): Promise<Rows<A, I>>
  /** A record for the log of the other end. Records that exceed the limits are dropped and counted. */
  log(record: RemoteLog): void
  /** Resolves when the other end has answered PING. */
  ping(): Promise<void>
  /** Ends the connection for a reason, which the other end reports for its pending requests. */
  bye(reason: string): Promise<void>
}

export interface RequestOptions {
  /** When aborted, the other end is asked to cancel; the request rejects with the reason after it has. */
  readonly signal?: AbortSignal
}

/** Disposed without `finish` it is cancelled; disposal resolves when the other end has discarded it. */
export interface Upload<E, A> extends AsyncDisposable {
  readonly sink: ByteSink
  finish(end: E): Promise<A>
}

export interface Download<A> extends ByteSource {
  readonly answer: A
}

/** Leaving the loop early cancels the request. */
export interface Rows<A, I> extends AsyncIterable<I> {
  readonly answer: A
}

export interface RemoteLog {
  readonly level: MessageLevel
  readonly message: string
  /** Number of the worker. */
  readonly process?: number
}

/** When an end gives up the other one. */
export interface SilenceLimits {
  /** Also the limit of the greeting: time in which an output queue makes no progress. */
  readonly ioTimeoutMs: number
  /** After this time without a frame the other end counts as dead. */
  readonly protocolTimeoutMs: number
}

export interface ConnectionOptions extends SilenceLimits {
  readonly handlers?: readonly Handler[]
  /** The only verb that is served until it has been answered; then `serve` adds others. Absent: no such limit. */
  readonly opensWith?: string
  readonly onLog?: (record: RemoteLog) => void
  /** Of the greeting only. */
  readonly signal?: AbortSignal
  /** Default: all that this release supports. */
  readonly protocols?: ProtocolRange
}

/** A verb that an end serves, made by `onCall`, `onUpload`, `onDownload` and `onRows`. */
export interface Handler {
  readonly name: string
  readonly takesBody: boolean
  serve(request: ServedRequest): Promise<void>
}

/** A request as a handler sees it. What `serve` throws is sent to the caller. */
export interface ServedRequest {
  readonly fields: Value
  readonly call: Call
  /** Present if the caller sends a body. */
  readonly body: BodyReceiver | undefined
  answer(fields: Value): Promise<void>
  /** Answers, and begins a body of this end, which `end` ends. */
  begin(fields: Value): Promise<BodySender>
  end(fields: Value): Promise<void>
}

/** What a handler knows about its request. */
export interface Call {
  /** Aborted by the caller, or by the end of the connection. */
  readonly signal: AbortSignal
  readonly connection: Connection
}

/** The body of an upload. If the caller cancels, `next` rejects. */
export interface IncomingBody<E> extends ByteSource {
  /** What the caller sent after the bytes; valid when `next` has returned undefined. */
  readonly end: E
}
