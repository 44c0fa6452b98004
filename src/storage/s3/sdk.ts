import { S3Client as Sdk, type S3ClientConfig } from '@aws-sdk/client-s3'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import type { Agents } from '../http/agents.ts'
import { bracketed, bucketUrl, type S3Description } from './description.ts'
import { silenceVersionNotice, type KeysProvider } from './library.ts'

/**
 * AWS's client, with every setting that it would otherwise read from the environment and ~/.aws: only the options of
 * the repository define host and credentials. It sends every request once; the retrying wrapper repeats it.
 */
export function openSdk(description: S3Description, agents: Agents, keys: KeysProvider): Sdk {
  const { region, service, endpoint, access } = description
  const url = bucketUrl(description)
  silenceVersionNotice()
  const sdk = new Sdk({
    ...ASK_NOBODY,
    region,
    credentials: keys,
    maxAttempts: 1,
    // The endpoint rules of the library know AWS hosts only; the URL is computed here.
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
    // integrity.ts decides how a body is proven.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    expectContinueHeader: false,
    logger: SILENT,
  })
  // Before the signature, which covers all headers.
  sdk.middlewareStack.addRelativeTo(withoutClient, {
    name: 'withoutClient',
    relation: 'before',
    toMiddleware: 'httpSigningMiddleware',
  })
  const { connectHost } = endpoint
  if (connectHost !== undefined) {
    // After the signature, which is made for the host in the Host header.
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

/** Removes the parameters and headers that identify AWS's client: other services may refuse unknown ones. */
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
