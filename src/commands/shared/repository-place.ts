import { createHash } from 'node:crypto'
import type { RepoOptions } from '../../config/resolve.ts'

type PlaceOption =
  | 'azureAccount'
  | 'azureContainer'
  | 'azureEndpoint'
  | 'gcsBucket'
  | 'gcsEndpoint'
  | 'host'
  | 'hostPort'
  | 'path'
  | 's3Bucket'
  | 's3Endpoint'
  | 'storageHost'
  | 'storagePort'
  | 'type'

/** An option that a command does not have is undefined. */
type Repo = { readonly [K in PlaceOption]: RepoOptions[K] | undefined }

/** Where a repository is, without its number and without secrets: equal parts mean the same repository. */
export function placeParts(repo: Repo): readonly (string | number | undefined)[] {
  return [
    repo.type,
    repo.path,
    repo.host,
    repo.hostPort,
    repo.s3Bucket,
    repo.s3Endpoint,
    repo.azureAccount,
    repo.azureContainer,
    repo.azureEndpoint,
    repo.gcsBucket,
    repo.gcsEndpoint,
    repo.storageHost,
    repo.storagePort,
  ]
}

/** The places of repositories, hashed, because some parts are confidential. */
export function repositoryPlaces(repos: readonly Repo[]): string[] {
  return repos.map((repo) =>
    createHash('sha256')
      .update(JSON.stringify(placeParts(repo)))
      .digest('hex')
      .slice(0, 32),
  )
}
