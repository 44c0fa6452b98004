import type { ByteString } from '../../util/byte-string.ts'
import type { NotRemoved } from '../object/client.ts'
import { fitsXml } from './names.ts'
import { removeBatch } from './remove-batch.ts'
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
    const { output, refusal } = await removeBatch(this.#requests, names, signal)
    if (refusal !== undefined) {
      const { status, code } = refusal
      if (status !== 501 && status !== 405 && code !== 'NotImplemented')
        throw this.#requests.errorOf(refusal, { action: 'remove' })
      this.#batches = false
      return this.#oneByOne(names, signal)
    }
    // Some services report only failed removals, as a quiet request would: the missing names need a check.
    return [...output.left, ...(await this.#oneByOne(output.unanswered, signal))]
  }

  async #oneByOne(names: readonly ByteString[], signal: AbortSignal | undefined): Promise<readonly NotRemoved[]> {
    const waiting = names.values()
    const { common } = this.#requests
    const worker = async () => {
      for (const name of waiting) {
        const request = { action: 'remove', operation: 'DeleteObject', name, input: common, signal } as const
        const { refusal } = await this.#requests.sendDirect(request)
        if (refusal !== undefined && refusal.code !== 'NoSuchKey') throw this.#requests.errorOf(refusal, request)
      }
    }
    await Promise.all(Array.from({ length: Math.min(SINGLE_AT_ONCE, names.length) }, worker))
    return []
  }
}
