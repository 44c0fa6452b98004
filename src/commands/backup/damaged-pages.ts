import { countFiles, describePageErrors, listFiles, type DamagedFile } from '../../core/backup/page-errors.ts'
import type { ManifestDatabase, ManifestFile } from '../../format/manifest.ts'
import type { ServerConnection } from '../../postgres/client.ts'
import type { ClusterAccess } from '../../postgres/cluster-access.ts'
import { relationFileOf, relationName, type RelationFile } from '../../postgres/relation-name.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { messageOf, PgtsError } from '../../util/error.ts'
import type { CommandContext } from '../context.ts'

/**
 * Warn about every file of the backup with damaged pages, by the name of its relation if a server is connected.
 *
 * @param databases empty for an offline backup
 */
export async function warnOfDamagedPages(
  ctx: CommandContext<'backup'>,
  cluster: ClusterAccess,
  files: readonly ManifestFile[],
  databases: readonly ManifestDatabase[],
): Promise<void> {
  const relations = await relationsOf(ctx, cluster, files, databases)
  for (const file of files) {
    const relation = relations.get(file.name)
    const damaged: DamagedFile = { file, relation }
    ctx.log.warn({ file: file.name, relation }, describePageErrors(damaged))
  }
}

/**
 * Warns at the end of the backup, where the warnings about the files may have scrolled away.
 *
 * @throws PgtsError checksum [026] with page-error-exit: monitoring checks the exit code. The backup is kept, and `info`
 * marks it.
 */
export function concludeDamagedPages(
  ctx: CommandContext<'backup'>,
  label: string,
  files: readonly ManifestFile[],
): void {
  if (files.length === 0) return
  ctx.log.warn({ label }, `${countFiles(files)} in backup ${label}`)
  if (!ctx.options.pageErrorExit) return
  throw new PgtsError('checksum', `backup ${label} contains damaged pages in ${listFiles(files)}`, {
    hints: [
      'the backup was kept and can be restored; info marks it, and the warnings above name relations and pages',
      'expire was not run, because an older backup may contain the pages undamaged',
    ],
  })
}

/** Manifest name to `database.schema.relation`. A failure is not an error: names only help the operator. */
async function relationsOf(
  ctx: CommandContext<'backup'>,
  cluster: ClusterAccess,
  files: readonly ManifestFile[],
  databases: readonly ManifestDatabase[],
): Promise<Map<string, string>> {
  const wanted = new Map<number, { name: string; relation: RelationFile }[]>()
  for (const { name } of files) {
    const relation = relationFileOf(name)
    if (relation === undefined) continue
    const others = wanted.get(relation.databaseOid)
    if (others === undefined) wanted.set(relation.databaseOid, [{ name, relation }])
    else others.push({ name, relation })
  }
  const found = new Map<string, string>()
  for (const [oid, members] of wanted) {
    const database = databases.find((entry) => entry.oid === oid)?.name
    if (databases.length === 0 || (oid !== 0 && database === undefined)) continue
    try {
      await using server = await cluster.connect({ database })
      for (const { name, relation } of members) {
        const shown = await namedBy(server, relation)
        if (shown !== undefined) found.set(name, database === undefined ? shown : `${bytesToText(database)}.${shown}`)
      }
    } catch (error) {
      ctx.signal.throwIfAborted()
      ctx.log.debug(`relations of database ${oid} cannot be named: ${messageOf(error)}`)
    }
  }
  return found
}

async function namedBy(server: ServerConnection, relation: RelationFile): Promise<string | undefined> {
  const name = await relationName(server, relation)
  return name === undefined ? undefined : bytesToText(name)
}
