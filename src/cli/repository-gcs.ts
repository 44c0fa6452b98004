import type { GcsCredentialDescription, GcsDescription } from '../storage/gcs/description.ts'
import { environmentUrl, httpAccess, parseAddress, urlOf } from './http-access.ts'
import { invalid, type StorageSettings } from './storage-settings.ts'

export function gcsDescription(settings: StorageSettings): GcsDescription {
  const { gcsBucket, gcsEndpoint = 'storage.googleapis.com', gcsUserProject, storageTag, ...options } = settings.options
  const address = parseAddress(gcsEndpoint)
  if (address === undefined) throw invalid(settings, 'gcs-endpoint', `is not a host: ${gcsEndpoint}`)
  return {
    bucket: gcsBucket ?? '',
    serviceUrl: urlOf(address),
    credential: credentialOf(settings),
    userProject: gcsUserProject,
    tags: storageTag === undefined ? undefined : Object.fromEntries(storageTag),
    partBytes: options.storageUploadChunkSize ?? 4 * 1024 * 1024,
    atMs: settings.atMs,
    access: httpAccess(settings),
    repository: settings.name,
  }
}

function credentialOf({ options, env }: StorageSettings): GcsCredentialDescription {
  const { gcsKeyType, gcsKey = '' } = options
  switch (gcsKeyType) {
    case 'auto': {
      const metadata = env['GCE_METADATA_HOST']
      if (metadata) environmentUrl('GCE_METADATA_HOST', `http://${metadata}/`)
      return { type: 'auto', metadata: metadata || undefined }
    }
    case 'token':
      return { type: 'token', token: gcsKey }
    case 'web-id':
      return { type: 'web-id', accountFile: gcsKey }
    default:
      return { type: 'service', keyFile: gcsKey }
  }
}
