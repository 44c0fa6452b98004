import { fromWebToken } from '@aws-sdk/credential-provider-web-identity'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import type { PgtsError } from '../../../util/error.ts'
import { openAgents, type HttpAccess } from '../../http/agents.ts'
import { networkError } from '../../http/network-error.ts'
import { RefusedRequestError, RetryableStoreError } from '../../object/retryable-error.ts'
import type { S3Keys } from '../description.ts'
import { refusalOf } from '../refusal.ts'
import { silenceVersionNotice } from '../library.ts'
import { readToken } from './container.ts'
import type { FetchKeys } from './fetched-keys.ts'

/**
 * Credentials of a role, in exchange for the token of an identity provider (for example of a Kubernetes cluster); with
 * AWS's own provider, over our sockets.
 */
export function webIdentityKeys(keys: S3Keys & { type: 'web-id' }, access: HttpAccess): FetchKeys {
  const from = `the token service ${keys.stsUrl}`
  silenceVersionNotice()
  return async () => {
    // The platform renews the file while the process runs.
    const webIdentityToken = await readToken(keys.tokenFile)
    using agents = await openAgents(access)
    const requestHandler = new NodeHttpHandler({
      httpAgent: agents.http,
      httpsAgent: agents.https,
      socketTimeout: access.stallMs,
    })
    // The region would only select an endpoint, and the endpoint is given.
    const clientConfig = {
      endpoint: keys.stsUrl,
      region: 'us-east-1',
      maxAttempts: 1,
      requestHandler,
      logger: undefined,
    }
    try {
      const identity = { roleArn: keys.role, roleSessionName: 'pgts', webIdentityToken, clientConfig }
      return (await fromWebToken(identity)()) as Awaited<ReturnType<FetchKeys>>
    } catch (error) {
      throw refused(error, from, keys.role)
    }
  }
}

function refused(error: unknown, from: string, role: string): PgtsError {
  const refusal = refusalOf(error)
  if (refusal === undefined) return networkError(`cannot get credentials from ${from}`, error)
  const { status, code, message } = refusal
  const said = `${from} returned no credentials for ${role}: ${code === '' ? `HTTP status ${status}` : `${code}: ${message}`}`
  // Without an error code of the service, another server may have answered.
  if (status >= 500 || status === 429 || code === '') return new RetryableStoreError(said)
  return new RefusedRequestError('access', said, {
    hints: ['check AWS_ROLE_ARN, and that the trust policy of that role trusts this identity'],
  })
}
