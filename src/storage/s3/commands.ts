import type {
  $Command,
  S3Client as Sdk,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes,
} from '@aws-sdk/client-s3'
import type { UnprovenAnswer } from '../http/unproven-answer.ts'
import type { Agents } from '../http/agents.ts'
import type { S3Description } from './description.ts'
import type { KeysProvider } from './library.ts'
import { isText, uriEncodePath } from './names.ts'
import { proveAnswer, type HttpResponse } from './proof.ts'
import type { S3Subject } from './error.ts'
import { refusalOf, type S3Answer } from './refusal.ts'
import { openSdk } from './sdk.ts'
import type { ServiceClock } from './service-clock.ts'

export type S3Command<I extends ServiceInputTypes, O extends ServiceOutputTypes> = $Command<
  I,
  O,
  S3ClientResolvedConfig,
  ServiceInputTypes,
  ServiceOutputTypes
>

/** A request that AWS's client composes and whose answer it reads. */
export interface S3Request<I extends ServiceInputTypes, O extends ServiceOutputTypes> extends S3Subject {
  readonly command: () => S3Command<I, O>
  /** Receives the XML body of a success before the library reads it. */
  readonly seen?: (xml: string) => void
}

export interface HttpRequest {
  path: string
  readonly headers: Record<string, string>
}

/** Sends commands of AWS's client, each once. */
export class S3Commands {
  readonly #sdk: Sdk
  readonly #clock: ServiceClock
  readonly #root: string

  constructor(description: S3Description, agents: Agents, keys: KeysProvider, clock: ServiceClock) {
    const { endpoint, bucket } = description
    this.#sdk = openSdk(description, agents, keys)
    this.#clock = clock
    this.#root = endpoint.uriStyle === 'path' ? `/${encodeURIComponent(bucket)}/` : '/'
  }

  async send<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    request: S3Request<I, O>,
  ): Promise<S3Answer<O>> {
    const { signal } = request
    const { config } = this.#sdk
    const { offsetMs } = this.#clock
    let unproven: UnprovenAnswer | undefined
    config.systemClockOffset = offsetMs
    try {
      const options = signal === undefined ? {} : { abortSignal: signal }
      return {
        output: await this.#sdk.send(
          this.#prepared(request, (refused) => (unproven = refused)),
          options,
        ),
      }
    } catch (error) {
      const refusal = signal?.aborted ? undefined : refusalOf(error, unproven)
      if (refusal === undefined) throw error
      return { refusal }
    } finally {
      if (config.systemClockOffset !== offsetMs) this.#clock.offsetMs = config.systemClockOffset
    }
  }

  destroy(): void {
    this.#sdk.destroy()
  }

  /** @param refused receives a refusal that does not come from an S3 service */
  #prepared<I extends ServiceInputTypes, O extends ServiceOutputTypes>(
    { name, command: make, seen }: S3Request<I, O>,
    refused: (unproven: UnprovenAnswer | undefined) => void,
  ) {
    const command = make()
    const path = name === undefined || isText(name) ? undefined : this.#root + uriEncodePath(name)
    if (path !== undefined) {
      command.middlewareStack.add(
        (next) => (args) => {
          // The library accepts text only.
          ;(args as unknown as { request: HttpRequest }).request.path = path
          return next(args)
        },
        { name: 'path', step: 'build', priority: 'low' },
      )
    }
    command.middlewareStack.add(
      (next, { commandName }) =>
        async (args) => {
          const result = await next(args)
          const response = result.response as HttpResponse
          const { text, unproven } = await proveAnswer(String(commandName), response)
          refused(unproven)
          if (text !== undefined && response.statusCode === 200) seen?.(text)
          return result
        },
      { name: 'prove', step: 'deserialize', priority: 'low' },
    )
    return command
  }
}
