import { PgtsError } from '../util/error.ts'
import type { CommandContext } from './context.ts'

/** The background process of archive-push. */
export async function archivePushAsync(_ctx: CommandContext<'archive-push'>): Promise<void> {
  throw new PgtsError('feature-not-supported', 'asynchronous archiving is not there yet')
}
