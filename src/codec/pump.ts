import type { ByteSink, ByteSource } from '../util/bytes.ts'
import type { Chunks, Stage } from './stage.ts'

type Maybe = void | Promise<void>

/**
 * Moves all bytes of `source` through `stages`, in order, to `sink`. Closes the source and the stages at the end or
 * after a failure. Does not close the sink: the caller decides whether to commit it.
 *
 * A loop, not a chain of Node streams: it waits only if the source, the sink or a stage returns a promise, so a small
 * file costs microseconds. Rejects with the reason of the signal when it is aborted.
 */
export async function pump(
  source: ByteSource,
  stages: readonly Stage[],
  sink: ByteSink,
  signal?: AbortSignal,
): Promise<void> {
  const feed = (chunk: Uint8Array, index: number): Maybe => {
    const stage = stages[index]
    return stage === undefined ? sink.write(chunk) : passOn(stage.push(chunk), index + 1)
  }

  const passOn = (chunks: Chunks, next: number): Maybe => {
    if (Symbol.asyncIterator in chunks) return passOnAsync(chunks[Symbol.asyncIterator](), next)
    const iterator = chunks[Symbol.iterator]()
    for (let step = iterator.next(); step.done !== true; step = iterator.next()) {
      const waiting = feed(step.value, next)
      if (waiting !== undefined) return waiting.then(() => passOnAsync(iterator, next))
    }
  }

  const passOnAsync = async (
    iterator: Iterator<Uint8Array> | AsyncIterator<Uint8Array>,
    next: number,
  ): Promise<void> => {
    for (;;) {
      const answer = iterator.next()
      const step = answer instanceof Promise ? await answer : (answer as IteratorResult<Uint8Array>)
      if (step.done === true) return
      const waiting = feed(step.value, next)
      if (waiting !== undefined) await waiting
    }
  }

  try {
    for (;;) {
      signal?.throwIfAborted()
      const answer = source.next()
      const chunk = answer instanceof Promise ? await answer : answer
      if (chunk === undefined) break
      if (chunk.length === 0) continue
      const waiting = feed(chunk, 0)
      if (waiting !== undefined) await waiting
    }
    for (const [index, stage] of stages.entries()) {
      const waiting = passOn(stage.finish(), index + 1)
      if (waiting !== undefined) await waiting
    }
    signal?.throwIfAborted()
  } finally {
    for (const stage of stages) stage.close?.()
    await source[Symbol.asyncDispose]()
  }
}
