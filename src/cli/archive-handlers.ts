import { loadModule } from '../util/load-module.ts'
import type { CommandHandlers } from './outcome.ts'

/** The segment is not in the archive: PostgreSQL takes 1 for the end of WAL and goes on. */
const NOT_FOUND = 1

/** The two commands that PostgreSQL calls for every segment. */
export const archiveHandlers = {
  'archive-get': async (ctx) => {
    const { archiveGet } = await loadModule(() => import('../commands/archive-get.ts'))
    return { exitCode: (await archiveGet(ctx)).found ? 0 : NOT_FOUND }
  },
  'archive-push': async (ctx) => {
    const { archivePush } = await loadModule(() => import('../commands/archive-push.ts'))
    await archivePush(ctx)
    return {}
  },
} satisfies CommandHandlers
