import { AnonymousCredential, StorageSharedKeyCredential } from '@azure/storage-blob'
import { PgtsError } from '../../util/error.ts'
import type { HttpSend } from '../http/send.ts'
import type { AzureDescription } from './description.ts'
import { managedIdentity, type TokenSource } from './managed-identity.ts'

export type AzureSdkCredential = StorageSharedKeyCredential | AnonymousCredential | TokenSource

/**
 * The credential that signs requests, and the query that every URL carries ('' unless a shared access signature is
 * used).
 */
export function azureCredential(
  { account, credential, serviceUrl, repository }: AzureDescription,
  send: HttpSend,
): { credential: AzureSdkCredential; query: string } {
  switch (credential.type) {
    case 'shared':
      return { credential: new StorageSharedKeyCredential(account, sharedKey(credential.key, repository)), query: '' }
    case 'sas': {
      const token = credential.token.trim().replace(/^\?/, '')
      if (!/(^|&)sig=/.test(token)) {
        throw new PgtsError('option-invalid-value', `${repository}-azure-key is not a shared access signature`, {
          hints: ["set it to the query that 'az storage container generate-sas' prints: sv=...&sig=..."],
        })
      }
      return { credential: new AnonymousCredential(), query: `?${token}` }
    }
    case 'auto': {
      if (!serviceUrl.startsWith('https:')) {
        throw new PgtsError(
          'option-invalid-value',
          `${repository}-azure-key-type=auto needs TLS: a token must not be sent in clear`,
        )
      }
      return {
        credential: managedIdentity(send, tokenResource(serviceUrl), repository, credential),
        query: '',
      }
    }
  }
}

function sharedKey(text: string, repository: string): string {
  const key = text.trim()
  if (/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(key) && key !== '') return key
  throw new PgtsError('option-invalid-value', `${repository}-azure-key is not base64`, {
    hints: [
      `with ${repository}-azure-key-type=shared set it to one of the two access keys of the account; 'sas' takes a shared access signature`,
    ],
  })
}

/** Tokens for `https://storage.azure.com` are valid in every cloud; the path style is used by emulators only. */
function tokenResource(serviceUrl: string): string {
  const url = new URL(serviceUrl)
  return url.pathname === '/' ? url.origin : 'https://storage.azure.com'
}
