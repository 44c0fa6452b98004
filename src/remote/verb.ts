import type { Schema } from './fields.ts'

/** A kind of request: its name, the types of its messages, and which end sends a body. */
interface Verb<Q, A> {
  readonly name: string
  readonly request: Schema<Q>
  readonly answer: Schema<A>
}

/** Request and answer. */
export interface CallVerb<Q, A> extends Verb<Q, A> {
  readonly body: 'none'
}

/** The caller sends bytes after its request. */
export interface UploadVerb<Q, E, A> extends Verb<Q, A> {
  readonly body: 'upload'
  /** After the bytes. */
  readonly end: Schema<E>
}

/** The serving end sends bytes after its answer. */
export interface DownloadVerb<Q, A> extends Verb<Q, A> {
  readonly body: 'download'
}

/** The serving end sends values after its answer. */
export interface RowsVerb<Q, A, I> extends Verb<Q, A> {
  readonly body: 'rows'
  readonly item: Schema<I>
}

export function callVerb<Q, A>(name: string, request: Schema<Q>, answer: Schema<A>): CallVerb<Q, A> {
  return { name, request, answer, body: 'none' }
}

export function uploadVerb<Q, E, A>(
  name: string,
  request: Schema<Q>,
  end: Schema<E>,
  answer: Schema<A>,
): UploadVerb<Q, E, A> {
  return { name, request, end, answer, body: 'upload' }
}

export function downloadVerb<Q, A>(name: string, request: Schema<Q>, answer: Schema<A>): DownloadVerb<Q, A> {
  return { name, request, answer, body: 'download' }
}

export function rowsVerb<Q, A, I>(
  name: string,
  request: Schema<Q>,
  answer: Schema<A>,
  item: Schema<I>,
): RowsVerb<Q, A, I> {
  return { name, request, answer, item, body: 'rows' }
}
