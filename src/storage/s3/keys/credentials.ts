import { loadModule } from '../../../util/load-module.ts'
import type { HttpAccess } from '../../http/agents.ts'
import type { S3Keys } from '../description.ts'
import type { Credentials } from './fetched-keys.ts'

/**
 * Kinds of credentials; each module is loaded only if it is configured. Web identities use AWS's own provider. Its
 * other providers read their settings from the environment and ~/.aws and cannot be given a role (machine),
 * certificates (container) or a program with its arguments (process), so pgts has its own for these three.
 */
export async function openCredentials(keys: S3Keys, access: HttpAccess, repository: string): Promise<Credentials> {
  switch (keys.type) {
    case 'shared': {
      const { key: accessKeyId, secret: secretAccessKey, token } = keys
      return { accessKeyId, secretAccessKey, sessionToken: token }
    }
    case 'instance': {
      const { instanceKeys } = await loadModule(() => import('./instance.ts'))
      return instanceKeys(keys, repository)
    }
    case 'container': {
      const { containerKeys } = await loadModule(() => import('./container.ts'))
      return containerKeys(keys, access)
    }
    case 'web-id': {
      const { webIdentityKeys } = await loadModule(() => import('./web-identity.ts'))
      return webIdentityKeys(keys, access)
    }
    case 'process': {
      const { processKeys } = await loadModule(() => import('./process.ts'))
      return processKeys(keys.command)
    }
  }
}
