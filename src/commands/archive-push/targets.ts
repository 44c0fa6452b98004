import { textToBytes } from '../../util/byte-string.ts'
import type { CommandContext } from '../context.ts'

/** The repositories that WAL is pushed to, as one line that identifies each and contains no secret. */
export function pushTargets({ options }: CommandContext<'archive-push'>): string {
  const places = options.repo.map((repo) => [
    repo.key,
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
    repo.cipherType,
  ])
  return textToBytes(`${JSON.stringify(places)}\n`)
}
