import type { ByteSink, ByteSource } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { descriptorOutput } from './log-output.ts'

/**
 * Standard output for bytes. Throws after the reader has closed it (`pgts repo-get FILE | head`); `closed` is then
 * true.
 */
export function stdoutSink(): ByteSink & { readonly closed: boolean } {
  const stdout = descriptorOutput(1)
  let closed = false
  return {
    get closed() {
      return closed
    },
    write(chunk) {
      closed ||= !stdout.write(chunk)
      if (closed) throw new PgtsError('file-write', 'the reader of standard output has closed it')
    },
  }
}

/** Standard input. */
export function stdinSource(): ByteSource {
  const chunks = process.stdin.iterator({ destroyOnReturn: true })
  return {
    async next() {
      const { done, value } = (await chunks.next()) as IteratorResult<Buffer, undefined>
      return done === true ? undefined : value
    },
    async [Symbol.asyncDispose]() {
      await chunks.return?.()
    },
  }
}
