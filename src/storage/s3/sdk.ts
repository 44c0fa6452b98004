import { S3Client as Sdk, type S3ClientConfig } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { isIPv6 } from 'node:net'
import type { Clock } from '../../util/clock.ts'
import type { Agents } from '../http/agents.ts'
import { hostOf, type S3Description } from './description.ts'
import type { Credentials } from './keys/fetched-keys.ts'

/**
 * AWS's client, told all that it would otherwise look for in the environment and in ~/.aws: where to connect and what to
 * sign is up to the options of the repository alone. It sends everything once; the storage above repeats.
 */
export function openSdk(description: S3Description, agents: Agents, credentials: Credentials, clock: Clock): Sdk {
  const { region, service, endpoint, access } = description
  const url = bucketUrl(description)
  silenceVersionNotice()
  const sdk = new Sdk({
    ...ASK_NOBODY,
    region,
    credentials,
    maxAttempts: 1,
    // The first answer tells it the time of the service.
    systemClockOffset: clock.nowMs() - Date.now(),
    // Its rules know the hosts of AWS; ours say what the host is.
    endpoint: url.href,
    endpointProvider: () => ({ url }),
    httpAuthSchemeProvider: () => [
      {
        schemeId: 'aws.auth#sigv4',
        signingProperties: { name: service, region, signingName: service, signingRegion: region },
        propertiesExtractor: (config: object, context: object) => ({ signingProperties: { config, context } }),
      },
    ],
    requestHandler: new NodeHttpHandler({
      httpAgent: agents.http,
      httpsAgent: agents.https,
      connectionTimeout: access.stallMs,
      socketTimeout: access.stallMs,
    }),
    // What a body is proven by is decided by integrity.ts.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    logger: SILENT,
  })
  // Before the signature, which is for all headers.
  sdk.middlewareStack.addRelativeTo(withoutClient, {
    name: 'withoutClient',
    relation: 'before',
    toMiddleware: 'httpSigningMiddleware',
  })
  const { connectHost } = endpoint
  if (connectHost !== undefined) {
    // After the signature, which is for the host that the endpoint names, as is the Host header.
    sdk.middlewareStack.add(
      (next) => (args) => {
        Object.assign(args.request as object, { hostname: bracketed(connectHost) })
        return next(args)
      },
      { name: 'connectElsewhere', step: 'finalizeRequest', priority: 'low' },
    )
  }
  return sdk
}

/** Of AWS's clients, which on every start with Node 20 say on stderr that they want a newer one: their own switch. */
export function silenceVersionNotice(): void {
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
}

/** What tells AWS about its own client is taken off: other services may refuse what they do not know. */
function withoutClient<A, R>(next: (args: A) => R): (args: A) => R {
  return (args) => {
    const { headers, query } = (
      args as { request: { headers: Record<string, string>; query: Record<string, unknown> } }
    ).request
    for (const name of OF_THE_CLIENT) delete headers[name]
    delete query['x-id']
    return next(args)
  }
}

const OF_THE_CLIENT = ['amz-sdk-invocation-id', 'amz-sdk-request', 'x-amz-user-agent']

const SILENT = { debug: silent, info: silent, warn: silent, error: silent }
function silent(): void {}

const ASK_NOBODY: S3ClientConfig = {
  defaultsMode: 'standard',
  retryMode: 'standard',
  useArnRegion: false,
  useDualstackEndpoint: false,
  useFipsEndpoint: false,
  disableMultiregionAccessPoints: true,
  disableS3ExpressSessionAuth: true,
  authSchemePreference: [],
  sigv4aSigningRegionSet: [],
  userAgentAppId: '',
}

/** Where the bucket is, in its name for the outside: that goes into the Host header. */
function bucketUrl({ endpoint, bucket }: S3Description): URL {
  const { secure, uriStyle, port } = endpoint
  const host = bracketed(hostOf({ endpoint, bucket }))
  const url = `${secure ? 'https' : 'http'}://${host}${port === undefined ? '' : `:${port}`}`
  return new URL(uriStyle === 'path' ? `${url}/${encodeURIComponent(bucket)}` : url)
}

function bracketed(host: string): string {
  return isIPv6(host) ? `[${host}]` : host
}
