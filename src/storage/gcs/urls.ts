import { textName } from '../object/text-name.ts'
import type { GcsDescription } from './description.ts'

type Parameters = Readonly<Record<string, string | undefined>>

/** URLs of a bucket in the JSON API. Undefined parameters are omitted. */
export class GcsUrls {
  readonly #serviceUrl: string
  readonly #bucketPath: string
  readonly #userProject: string | undefined

  constructor({ serviceUrl, bucket, userProject }: GcsDescription) {
    this.#serviceUrl = serviceUrl
    this.#bucketPath = `/storage/v1/b/${encodeURIComponent(bucket)}/o`
    this.#userProject = userProject
  }

  /** One object. */
  object(name: string, parameters: Parameters = {}): string {
    return `${this.#serviceUrl}${this.objectPath(name, parameters)}`
  }

  /** Path and query of one object, as used by a call in a batch. */
  objectPath(name: string, parameters: Parameters = {}): string {
    return `${this.#bucketPath}/${encodeURIComponent(textName(name))}${this.#query(parameters)}`
  }

  /** All objects, for listings. */
  objects(parameters: Parameters): string {
    return `${this.#serviceUrl}${this.#bucketPath}${this.#query(parameters)}`
  }

  upload(parameters: Parameters): string {
    const query = this.#query({ ...parameters, fields: 'kind,name,size,generation,md5Hash' })
    return `${this.#serviceUrl}/upload${this.#bucketPath}${query}`
  }

  batch(): string {
    return `${this.#serviceUrl}/batch/storage/v1`
  }

  #query(parameters: Parameters): string {
    const all = new URLSearchParams()
    for (const [key, value] of Object.entries({ ...parameters, userProject: this.#userProject }))
      if (value !== undefined) all.set(key, value)
    const text = all.toString()
    return text === '' ? '' : `?${text}`
  }
}
