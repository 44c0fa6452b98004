import { DeleteObjectCommand, DeleteObjectsCommand } from '@aws-sdk/client-s3'
import { textToBytes, type ByteString } from '../../util/byte-string.ts'
import type { NotRemoved } from '../object/client.ts'
import { isRemovalDenied } from './error.ts'
import { withMd5 } from './integrity.ts'
import { fitsXml, textKey } from './names.ts'
import type { S3Requests } from './requests.ts'

/** Services without batches receive this many single removals at once. */
const SINGLE_AT_ONCE = 16

/** Removes objects in batches; one by one if XML cannot carry the name, or if the service has no batches. */
export class Removals {
  readonly #requests: S3Requests
  #batches = true

  constructor(requests: S3Requests) {
    this.#requests = requests
  }

  async remove(names: readonly ByteString[], signal?: AbortSignal): Promise<readonly NotRemoved[]> {
    if (!this.#batches || names.length === 1) return this.#oneByOne(names, signal)
    const batch = names.filter(fitsXml)
    const others = names.filter((name) => !fitsXml(name))
    const left = await this.#inBatch(batch, signal)
    return [...left, ...(await this.#oneByOne(others, signal))]
  }

  async #inBatch(names: readonly ByteString[], signal: AbortSignal | undefined): Promise<readonly NotRemoved[]> {
    if (names.length === 0) return []
    const Objects = names.map((name) => ({ Key: textKey(name) }))
    const input = { ...this.#requests.common, Delete: { Objects } }
    const request = {
      action: 'remove',
      command: () => new DeleteObjectsCommand(input),
      prepare: withMd5,
      signal,
    } as const
    const { output, refusal } = await this.#requests.send(request)
    if (refusal !== undefined) {
      const { status, code } = refusal
      if (status !== 501 && status !== 405 && code !== 'NotImplemented') throw this.#requests.errorOf(refusal, request)
      this.#batches = false
      return this.#oneByOne(names, signal)
    }
    const answered = new Set(
      [...(output.Deleted ?? []), ...(output.Errors ?? [])].map(({ Key = '' }) => textToBytes(Key)),
    )
    const left = (output.Errors ?? [])
      .filter(({ Code }) => Code !== 'NoSuchKey')
      .map(({ Key = '', Code, Message }) => ({
        name: textToBytes(Key),
        reason: [Code, Message].filter((part) => part !== undefined).join(': '),
        denied: isRemovalDenied({ status: 200, code: Code ?? '', message: Message ?? '' }),
      }))
    // Some services report only failed removals, as a quiet request would: the missing names need a check.
    const unanswered = names.filter((name) => !answered.has(name))
    return [...left, ...(await this.#oneByOne(unanswered, signal))]
  }

  async #oneByOne(names: readonly ByteString[], signal: AbortSignal | undefined): Promise<readonly NotRemoved[]> {
    const waiting = names.values()
    const worker = async () => {
      for (const name of waiting) {
        const input = { ...this.#requests.common, Key: textKey(name) }
        const request = {
          action: 'remove',
          name,
          command: () => new DeleteObjectCommand(input),
          signal,
        } as const
        const { refusal } = await this.#requests.send(request)
        if (refusal !== undefined && refusal.code !== 'NoSuchKey') throw this.#requests.errorOf(refusal, request)
      }
    }
    await Promise.all(Array.from({ length: Math.min(SINGLE_AT_ONCE, names.length) }, worker))
    return []
  }
}
