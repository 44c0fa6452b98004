import type { PlainError } from '../../util/error.ts'

/** Size of the pieces in which bytes are exchanged; their buffers are transferred between the threads and reused. */
export const PIECE_BYTES = 256 * 1024

/**
 * Maximum number of pieces of one file, in either direction, that the other thread has not finished; the sender then
 * waits.
 */
export const PIECES_AHEAD = 8

/**
 * To the thread that has the storage open. `id` is unique for the port and identifies one read, one new file or one removal.
 */
export type ToStorage =
  | {
      readonly type: 'read'
      readonly id: number
      readonly name: string
      readonly offset?: number
      readonly length?: number
    }
  | { readonly type: 'create'; readonly id: number; readonly name: string; readonly unreferenced: boolean }
  | { readonly type: 'write'; readonly id: number; readonly buffer: ArrayBuffer; readonly length: number }
  | { readonly type: 'commit'; readonly id: number; readonly deferSync: boolean }
  /** A piece of a read has been consumed: its buffer is free again. */
  | { readonly type: 'back'; readonly id: number; readonly buffer: ArrayBuffer }
  /** End a read early, or discard a file. */
  | { readonly type: 'end'; readonly id: number }
  | { readonly type: 'remove'; readonly id: number; readonly name: string }

export type FromStorage =
  /** A read has begun. */
  | { readonly type: 'opened'; readonly id: number }
  | { readonly type: 'bytes'; readonly id: number; readonly buffer: ArrayBuffer; readonly length: number }
  /** A piece has been written: its buffer is free again. */
  | { readonly type: 'back'; readonly id: number; readonly buffer: ArrayBuffer }
  /** All bytes were read; the file is committed; the file is discarded (or was committed before); it is removed. */
  | { readonly type: 'done' | 'committed' | 'discarded' | 'removed'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly error: PlainError }
