import type { ByteSink, ByteSource } from '../util/bytes.ts'
import { PgtsError } from '../util/error.ts'
import { descriptorOutput } from './log-output.ts'

/** What a command prints as bytes. Fails when nobody reads any more (`pgts repo-get FILE | head`), and is `closed` then. */
export function stdoutSink(): ByteSink & { readonly closed: boolean } {
  const stdout = descriptorOutput(1)
  let closed = false
  return {
    get closed() {
      return closed
    },
    write(chunk) {
      closed ||= !stdout.write(chunk)
      if (closed) throw new PgtsError('file-write', 'nobody reads what is printed any more')
    },
  }
}

/** What is piped into a command. */
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
