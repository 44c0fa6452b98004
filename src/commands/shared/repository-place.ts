import { createHash } from 'node:crypto'
import type { CommandContext } from '../context.ts'

type Repo = CommandContext<'archive-push' | 'backup' | 'check' | 'doctor' | 'restore'>['options']['repo'][number]

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
