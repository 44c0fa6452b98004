import { textToBytes } from '../../util/byte-string.ts'
import { placeParts } from '../shared/repository-place.ts'
import type { CommandContext } from '../context.ts'

/** The repositories that WAL is pushed to, as one line that identifies each and contains no secret. */
export function pushTargets({ options }: CommandContext<'archive-push'> | CommandContext<'archive-get'>): string {
  const places = options.repo.map((repo) => [repo.key, ...placeParts(repo), repo.cipherType])
  return textToBytes(`${JSON.stringify(places)}\n`)
}
