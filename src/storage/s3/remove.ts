import { isUtf8 } from 'node:buffer'
import { bytesToText, textToBytes } from '../../util/byte-string.ts'
import type { Integrity } from './integrity.ts'
import type { S3Requests } from './requests.ts'
import { escapeXml, fitsXml, parseXml, textOf } from './xml.ts'

export interface NotRemoved {
  readonly name: string
  readonly reason: string
}

/** Services that know no batches get so many removals at once. */
const SINGLE_AT_ONCE = 16

/** Removes objects by the batch; one by one what cannot be written in XML, and where the service has no batches. */
export class Removals {
  readonly #requests: S3Requests
  readonly #integrity: Integrity
  #batches = true

  constructor(requests: S3Requests, integrity: Integrity) {
    this.#requests = requests
    this.#integrity = integrity
  }

  async remove(names: readonly string[], signal?: AbortSignal): Promise<readonly NotRemoved[]> {
    if (!this.#batches || names.length === 1) return this.#oneByOne(names, signal)
    const batch = names.filter(canBeListed)
    const others = names.filter((name) => !canBeListed(name))
    const left = await this.#inBatch(batch, signal)
    return [...left, ...(await this.#oneByOne(others, signal))]
  }

  async #inBatch(names: readonly string[], signal: AbortSignal | undefined): Promise<readonly NotRemoved[]> {
    if (names.length === 0) return []
    const keys = names.map((name) => `<Object><Key>${escapeXml(bytesToText(name))}</Key></Object>`).join('')
    const body = `<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>${keys}</Delete>`
    const request = {
      action: 'remove',
      method: 'POST',
      query: [['delete', '']],
      body,
      proof: this.#integrity.forDocument(body),
      ...(signal === undefined ? {} : { signal }),
    } as const
    const answer = await this.#requests.send(request)
    if (answer.refusal !== undefined) {
      const { status, code } = answer.refusal
      if (status !== 501 && status !== 405 && code !== 'NotImplemented')
        throw this.#requests.errorOf(answer.refusal, request)
      this.#batches = false
      return this.#oneByOne(names, signal)
    }
    const text = await this.#requests.restOf(answer.response, request)
    return parseXml(text)
      .children.filter((child) => child.name === 'Error' && textOf(child, 'Code') !== 'NoSuchKey')
      .map((child) => ({
        name: textToBytes(textOf(child, 'Key') ?? ''),
        reason: [textOf(child, 'Code'), textOf(child, 'Message')].filter((part) => part !== undefined).join(': '),
      }))
  }

  async #oneByOne(names: readonly string[], signal: AbortSignal | undefined): Promise<readonly NotRemoved[]> {
    const waiting = names.values()
    const worker = async () => {
      for (const name of waiting) {
        const request = {
          action: 'remove',
          method: 'DELETE',
          name,
          ...(signal === undefined ? {} : { signal }),
        } as const
        const { response, refusal } = await this.#requests.send(request)
        if (refusal !== undefined && refusal.code !== 'NoSuchKey' && !(refusal.status === 404 && refusal.code === '')) {
          throw this.#requests.errorOf(refusal, request)
        }
        if (response !== undefined) await this.#requests.restOf(response, request)
      }
    }
    await Promise.all(Array.from({ length: Math.min(SINGLE_AT_ONCE, names.length) }, worker))
    return []
  }
}

function canBeListed(name: string): boolean {
  return isUtf8(Buffer.from(name, 'latin1')) && fitsXml(bytesToText(name))
}
