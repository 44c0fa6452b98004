import { loadModule } from '../util/load-module.ts'
import { row, type CommandRows } from './command-row.ts'

/** The segment is not in the archive: PostgreSQL takes exit code 1 for the end of the archive. */
const NOT_FOUND = 1

/** The two commands that PostgreSQL calls for every segment. */
export const archiveRows = {
  'archive-get': row<'archive-get', { readonly found: boolean }>({
    load: async () => (await loadModule(() => import('../commands/archive-get.ts'))).archiveGet,
    render: ({ found }) => ({ exitCode: found ? 0 : NOT_FOUND }),
  }),
  'archive-push': row<'archive-push', void>({
    load: async () => (await loadModule(() => import('../commands/archive-push.ts'))).archivePush,
  }),
} satisfies CommandRows
