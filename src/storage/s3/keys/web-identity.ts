import { fromWebToken } from '@aws-sdk/credential-provider-web-identity'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import type { PgtsError } from '../../../util/error.ts'
import { openAgents, type HttpAccess } from '../../http/agents.ts'
import { networkError } from '../../http/network-error.ts'
import { StoreRefusal, RetryableStoreError } from '../../object/retryable-error.ts'
import type { S3Keys } from '../description.ts'
import { refusalOf } from '../refusal.ts'
import { silenceVersionNotice } from '../sdk.ts'
import { readToken } from './container.ts'
import type { FetchKeys } from './fetched-keys.ts'

/**
 * Keys of a role, in exchange for the token that an identity provider (of a Kubernetes cluster, say) gave; by AWS's own
 * provider, over our sockets.
 */
export function webIdentityKeys(keys: S3Keys & { type: 'web-id' }, access: HttpAccess): FetchKeys {
  const from = `the token service ${keys.stsUrl}`
  silenceVersionNotice()
  return async () => {
    // The platform renews the file while we run.
    const webIdentityToken = await readToken(keys.tokenFile)
    using agents = await openAgents(access)
    const requestHandler = new NodeHttpHandler({
      httpAgent: agents.http,
      httpsAgent: agents.https,
      socketTimeout: access.stallMs,
    })
    // The region only names an endpoint, and that is given.
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
  if (refusal === undefined) return networkError(`cannot get keys from ${from}`, error)
  const { status, code, message } = refusal
  const said = `${from} gives no keys for ${role}: ${code === '' ? `HTTP status ${status}` : `${code}: ${message}`}`
  // Without a code of the service it may be something else that answered.
  if (status >= 500 || status === 429 || code === '') return new RetryableStoreError(said)
  return new StoreRefusal('access', said, {
    hints: ['check AWS_ROLE_ARN, and whom the trust policy of that role trusts'],
  })
}
