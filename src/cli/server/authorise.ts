import { isAllowed, type Rights } from '../../core/serve/rights.ts'
import type { OpenRequest } from '../../remote/open.ts'
import type { PeerIdentity } from '../../remote/tls/accept-tls.ts'
import { PgtsError } from '../../util/error.ts'

/**
 * Checks the rights of a client before anything of its request is used.
 *
 * @returns the common name of its certificate
 * @throws PgtsError crypto for an invalid certificate; access without one, or if the client may not use the stanza
 */
export function authorise({ stanza = '' }: OpenRequest, identity: PeerIdentity, rights: Rights): string {
  switch (identity.kind) {
    case 'none':
      throw new PgtsError('access', 'the client has no certificate', {
        hints: ['set the options host-cert-file and host-key-file of this repository or cluster'],
      })
    case 'invalid':
      throw new PgtsError('crypto', `the certificate of the client is not valid: ${identity.reason}`, {
        hints: ['issue a certificate by the authority that tls-server-ca-file of the other host names'],
      })
    case 'verified': {
      if (isAllowed(stanza, rights.get(identity.name))) return identity.name
      const what = stanza === '' ? 'commands without a stanza' : `stanza '${stanza}'`
      throw new PgtsError('access', `client '${identity.name}' is not allowed to use ${what}`, {
        hints: [`add it to tls-server-auth of that host: ${identity.name}=${stanza === '' ? '*' : stanza}`],
      })
    }
  }
}
