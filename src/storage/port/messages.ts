import type { PlainError } from '../../util/error.ts'

/** Bytes travel in pieces of this size, whose buffers go back and forth between the threads. */
export const PIECE_BYTES = 256 * 1024

/** Pieces of one file, either way, that the other thread has not finished with; beyond that the sender waits. */
export const PIECES_AHEAD = 8

/** To the thread that has the storage open. `id` is unique for the port and stands for one read or one new file. */
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
  /** A piece that was read: its buffer is free again. */
  | { readonly type: 'back'; readonly id: number; readonly buffer: ArrayBuffer }
  /** The rest is not wanted, or the file is to be discarded. */
  | { readonly type: 'end'; readonly id: number }

export type FromStorage =
  /** A read has begun. */
  | { readonly type: 'opened'; readonly id: number }
  | { readonly type: 'bytes'; readonly id: number; readonly buffer: ArrayBuffer; readonly length: number }
  /** A piece that was written: its buffer is free again. */
  | { readonly type: 'back'; readonly id: number; readonly buffer: ArrayBuffer }
  /** All was read; the file is there; the file is discarded, or was there. */
  | { readonly type: 'done' | 'committed' | 'discarded'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly error: PlainError }
