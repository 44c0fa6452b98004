import type { AzureCredentialDescription, AzureDescription } from '../storage/azure/description.ts'
import { PgtsError } from '../util/error.ts'
import { environmentUrl, HOST_LABELS, httpAccess, parseAddress, urlOf, type Address } from './http-access.ts'
import { invalid, type StorageSettings } from './storage-settings.ts'

export function azureDescription(settings: StorageSettings): AzureDescription {
  const { azureAccount: account = '', azureContainer: container = '', storageTag, ...options } = settings.options
  const { address, style } = endpointOf(settings)
  if (!HOST_LABELS.test(account)) throw invalid(settings, 'azure-account', 'is not a valid name of a storage account')
  const host = style === 'host' ? `${account}.${address.host}` : address.host
  return {
    account,
    container,
    serviceUrl: style === 'host' ? urlOf({ ...address, host }) : `${urlOf(address)}/${account}`,
    credential: credentialOf(settings),
    tags: storageTag === undefined ? undefined : Object.fromEntries(storageTag),
    partBytes: options.storageUploadChunkSize ?? 4 * 1024 * 1024,
    access: httpAccess(settings),
    repository: settings.name,
  }
}

/** A host in storage-host is treated as an emulator with path style, as in pgbackrest. */
function endpointOf(settings: StorageSettings): { address: Address; style: 'host' | 'path' } {
  const { azureEndpoint = 'blob.core.windows.net', azureUriStyle, storageHost, storagePort } = settings.options
  const text = storageHost ?? azureEndpoint
  const address = parseAddress(text)
  if (address === undefined) {
    if (storageHost === undefined) throw invalid(settings, 'azure-endpoint', 'is not a host')
    throw invalid(settings, 'storage-host', `is not a host: ${text}`)
  }
  const byItself = storageHost === undefined ? 'host' : 'path'
  const style = settings.origin('azure-uri-style') === undefined ? byItself : azureUriStyle
  const port = settings.origin('storage-port') === undefined ? address.port : storagePort
  return { address: { ...address, ...(port === undefined ? {} : { port }) }, style: style ?? byItself }
}

function credentialOf(settings: StorageSettings): AzureCredentialDescription {
  const { options, env, name } = settings
  if (options.azureKeyType === 'auto') {
    const { IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: header, AZURE_CLIENT_ID: clientId } = env
    return {
      type: 'auto',
      service: endpoint && header ? { endpoint: environmentUrl('IDENTITY_ENDPOINT', endpoint), header } : undefined,
      clientId: clientId || undefined,
    }
  }
  const key = options.azureKey
  if (key === undefined || key.trim() === '') {
    throw new PgtsError('option-required', `${name}-azure-key must be set`, {
      hints: [`or set ${name}-azure-key-type=auto to use the managed identity of this machine`],
    })
  }
  return options.azureKeyType === 'sas' ? { type: 'sas', token: key } : { type: 'shared', key }
}
