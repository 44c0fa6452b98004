import type { Repository } from '../core/repository.ts'
import { deleteStanza, hasStanza } from '../core/stanza/delete.ts'
import { bytes, bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { removeStopFile, stopFileOf } from '../util/stop-file.ts'
import type { CommandContext } from './context.ts'
import { oneRepository } from './shared/one-repository.ts'
import { repoId } from '../util/repo-id.ts'

export interface StanzaDeleteReport {
  readonly stanza: string
  readonly repoKey: number
  /** false: nothing of the stanza existed. */
  readonly deleted: boolean
}

/** Removes a stanza with all backups and WAL from one repository; requires a stop file and a confirmation. */
export async function stanzaDelete(ctx: CommandContext<'stanza-delete'>): Promise<StanzaDeleteReport> {
  const { options, stanza, log, signal } = ctx
  refuseOtherHost(ctx)
  await using _lock = await ctx.lock()
  const repository = await oneRepository(ctx)
  const { key, storage } = repository
  await using _lease = await ctx.lease(repository)
  const there = await hasStanza(storage, stanza, signal)
  if (there) {
    if (stopFileOf(options.lockPath, stanza) === undefined) {
      throw new PgtsError('file-missing', `stanza ${stanza} is not stopped, so it cannot be deleted`, {
        hints: [`run 'pgts --stanza=${stanza} stop' on this host first; --force requires it as well`],
      })
    }
    if (!options.force) {
      await requireStoppedServer(ctx)
      await confirmDelete(ctx, repository)
    }
  }
  // Also removes the empty directories that a killed run left.
  await deleteStanza(storage, stanza, signal)
  removeStopFile(options.lockPath, stanza)
  if (there) log.info({ repo: key }, `stanza '${stanza}' was deleted from ${repoId(key)} (${storage.display})`)
  else log.info({ repo: key }, `stanza '${stanza}' does not exist in ${repoId(key)} (${storage.display})`)
  return { stanza, repoKey: key, deleted: there }
}

/** The stop file of the host that serves the repository protects the stanza from every other host. */
function refuseOtherHost({ options }: CommandContext<'stanza-delete'>): void {
  const distant = options.repo.find(
    ({ key, host }) => host !== undefined && (options.repoKey === undefined || options.repoKey === key),
  )
  if (distant === undefined) return
  throw new PgtsError('host-invalid', `stanza-delete must be run on the repository host '${distant.host}'`)
}

async function requireStoppedServer(ctx: CommandContext<'stanza-delete'>): Promise<void> {
  const { files, pgPath } = await ctx.cluster()
  if ((await files.stat(bytes`${pgPath}/postmaster.pid`)) === undefined) return
  throw new PgtsError('pg-running', `${bytesToText(pgPath)}/postmaster.pid exists: PostgreSQL seems to be running`, {
    hints: ['check the stanza; then stop the server, or use --force to delete the backups of a running server'],
  })
}

/** At a terminal the user must type the stanza name; for a script the stop file is enough. */
async function confirmDelete(ctx: CommandContext<'stanza-delete'>, { key, storage }: Repository): Promise<void> {
  const { stanza } = ctx
  const answer = await ctx.confirm(
    `All backups and WAL of stanza ${stanza} in ${repoId(key)} (${storage.display}) will be lost.\n` +
      'Type the name of the stanza to continue:  ',
  )
  if (answer === undefined || answer === stanza) return
  throw new PgtsError('option-invalid', `nothing was deleted: '${answer}' is not '${stanza}'`)
}
