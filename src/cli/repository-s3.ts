import type { S3Description, S3Endpoint, S3Keys } from '../storage/s3/description.ts'
import { PgtsError } from '../util/error.ts'
import { environmentUrl, HOST_LABELS, httpAccess, parseAddress } from './http-access.ts'
import { invalid, type Environment, type StorageSettings } from './storage-settings.ts'

export function s3Description(settings: StorageSettings): S3Description {
  const { options, name } = settings
  const endpoint = endpointOf(settings)
  const encryption = encryptionOf(settings)
  const storageClass = storageClassOf(settings)
  return {
    bucket: options.s3Bucket ?? '',
    region: options.s3Region ?? '',
    endpoint,
    service: options.s3Service ?? 's3',
    keys: keysOf(settings),
    access: httpAccess(settings),
    encryption,
    tags: options.storageTag === undefined ? undefined : Object.fromEntries(options.storageTag),
    requesterPays: options.s3RequesterPays ?? false,
    storageClass,
    partBytes: options.storageUploadChunkSize ?? 5 * 1024 * 1024,
    atMs: settings.atMs,
    repository: name,
  }
}

function endpointOf(settings: StorageSettings): S3Endpoint {
  const {
    s3Endpoint = '',
    s3Bucket = '',
    s3UriStyle = 'host',
    storageHost,
    storagePort,
    storageVerifyTls,
  } = settings.options
  const endpoint = parseAddress(s3Endpoint)
  if (endpoint === undefined) throw invalid(settings, 's3-endpoint', `is not a host: ${s3Endpoint}`)
  const other = storageHost === undefined ? undefined : parseAddress(storageHost)
  if (storageHost !== undefined && other === undefined) {
    throw invalid(settings, 'storage-host', `is not a host: ${storageHost}`)
  }
  const { secure, port: usual } = other ?? endpoint
  // In path style it is a part of the path, where any character can be escaped.
  if (s3UriStyle === 'host' && !HOST_LABELS.test(s3Bucket)) {
    throw invalid(
      settings,
      's3-bucket',
      `'${s3Bucket}' cannot be part of a host name`,
      `set ${settings.name}-s3-uri-style=path`,
    )
  }
  if (s3UriStyle === 'host' && secure && storageVerifyTls !== false && s3Bucket.includes('.')) {
    const why = `contains a dot (${s3Bucket}), so no certificate matches its host name`
    throw invalid(settings, 's3-bucket', why, `set ${settings.name}-s3-uri-style=path`)
  }
  if (s3UriStyle === 'host' && process.getBuiltinModule('node:net').isIP(endpoint.host) !== 0) {
    const why = `is an IP address (${endpoint.host}), which cannot be combined with a bucket name`
    throw invalid(settings, 's3-endpoint', why, `set ${settings.name}-s3-uri-style=path`)
  }
  const port = settings.origin('storage-port') === undefined ? usual : storagePort
  return {
    secure,
    uriStyle: s3UriStyle,
    host: endpoint.host,
    connectHost: other?.host,
    port,
  }
}

function encryptionOf(settings: StorageSettings): S3Description['encryption'] {
  const { s3KmsKeyId: kmsKeyId, s3SseCustomerKey: customerKey } = settings.options
  if (kmsKeyId !== undefined && customerKey !== undefined) {
    throw invalid(settings, 's3-sse-customer-key', `cannot be used together with ${settings.name}-s3-kms-key-id`)
  }
  if (kmsKeyId !== undefined) return { kmsKeyId }
  if (customerKey === undefined) return undefined
  if (Buffer.from(customerKey, 'base64').length !== 32) {
    throw invalid(
      settings,
      's3-sse-customer-key',
      'is not 32 bytes in base64',
      "create one with 'openssl rand -base64 32'",
    )
  }
  return { customerKey }
}

/** Classes whose objects must be restored for hours before they can be read: a restore would fail. */
const FROZEN = new Set(['GLACIER', 'DEEP_ARCHIVE'])

function storageClassOf(settings: StorageSettings): S3Description['storageClass'] {
  const classes = settings.options.s3StorageClass
  if (classes === undefined) return undefined
  for (const [kind, name] of classes) {
    if (kind !== 'data' && kind !== 'wal') {
      const why = `contains a class for ${kind}, but only data and wal are supported`
      throw invalid(settings, 's3-storage-class', why, 'info files and manifests always use the default class')
    }
    if (FROZEN.has(name)) {
      const why = `sets class ${name} for ${kind}, which cannot be read immediately`
      throw invalid(settings, 's3-storage-class', why, 'use GLACIER_IR, which costs about as little')
    }
  }
  const [data, wal] = [classes.get('data'), classes.get('wal')]
  return { data, wal }
}

const METADATA = 'http://169.254.169.254'
/** Endpoint for the credentials of Amazon ECS. */
const CONTAINER = 'http://169.254.170.2'

function keysOf(settings: StorageSettings): S3Keys {
  const { options, env } = settings
  switch (options.s3KeyType) {
    case 'auto':
      return roleOf(env, options.s3Role)
    case 'web-id': {
      const [role, tokenFile] = needed(settings, ['AWS_ROLE_ARN', 'AWS_WEB_IDENTITY_TOKEN_FILE'])
      const sts = parseAddress(options.s3StsHost ?? 'sts.amazonaws.com')
      if (sts === undefined) throw invalid(settings, 's3-sts-host', `is not a host: ${options.s3StsHost ?? ''}`)
      const port = sts.port === undefined ? '' : `:${sts.port}`
      const stsUrl = `${sts.secure ? 'https' : 'http'}://${sts.host.includes(':') ? `[${sts.host}]` : sts.host}${port}`
      return { type: 'web-id', stsUrl, role, tokenFile }
    }
    case 'pod-id': {
      const names = ['AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'] as const
      const [url, tokenFile] = needed(settings, names)
      return { type: 'container', url: environmentUrl(names[0], url), tokenFile }
    }
    case 'process':
      return { type: 'process', command: options.s3ProcessCmd ?? [] }
    default: {
      const { s3Key = '', s3KeySecret = '', s3Token } = options
      const keys = { type: 'shared', key: s3Key, secret: s3KeySecret } as const
      return s3Token === undefined ? keys : { ...keys, token: s3Token }
    }
  }
}

/** The role of the container, if the platform provides one and no other is set; else that of the machine. */
function roleOf(env: Environment, role: string | undefined): S3Keys {
  const relative = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']
  const name = `AWS_CONTAINER_CREDENTIALS_${relative ? 'RELATIVE' : 'FULL'}_URI`
  const text = relative ? CONTAINER + relative : env[name]
  if (text && role === undefined) {
    const url = environmentUrl(name, text)
    const [token, tokenFile] = [env['AWS_CONTAINER_AUTHORIZATION_TOKEN'], env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE']]
    return { type: 'container', url, token: token || undefined, tokenFile: tokenFile || undefined }
  }
  const service = 'AWS_EC2_METADATA_SERVICE_ENDPOINT'
  const metadata = environmentUrl(service, env[service] || METADATA).replace(/\/+$/, '')
  return { type: 'instance', metadata, role }
}

function needed<const N extends readonly string[]>(settings: StorageSettings, names: N): { [K in keyof N]: string } {
  const missing = names.filter((name) => !settings.env[name])
  if (missing.length > 0) {
    const message = `${settings.name}-s3-key-type=${settings.options.s3KeyType ?? ''} requires ${missing.join(' and ')} in the environment`
    throw new PgtsError('option-invalid', message, {
      hints: ['assign a role to the pod, so that the platform sets them; PostgreSQL passes its environment on'],
    })
  }
  return names.map((name) => settings.env[name]) as { [K in keyof N]: string }
}
