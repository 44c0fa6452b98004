import { newPassphrase } from '../../codec/cipher.ts'
import { archiveInfoName, archivePath, backupInfoName, backupPath, copyName } from '../../format/repo-path.ts'
import type { StorageDriver } from '../../storage/driver.ts'
import { getFile, putFile } from '../../storage/whole-file.ts'
import { PgtsError } from '../../util/error.ts'
import type { Logger } from '../../util/log.ts'
import { writerVersion } from '../../util/version.ts'
import { baseName } from '../archive/find.ts'
import type { ClusterIdentity } from '../cluster-identity.ts'
import { saveArchiveInfo } from '../archive-info-store.ts'
import { saveBackupInfo } from '../backup-info-store.ts'
import { isCopyCurrent } from '../info-pair.ts'
import type { Repository } from '../repository.ts'
import { checkStanzaInfo } from './check-info.ts'
import type { ByteString } from '../../util/byte-string.ts'
import { repoId } from '../../util/repo-id.ts'

/** What the info files record of a cluster; from pg_control. */
export interface NewCluster extends ClusterIdentity {
  readonly controlVersion: number
  readonly catalogVersion: number
}

export interface CreatedStanza {
  readonly repoKey: number
  /** `15-1` */
  readonly archiveId: string
  /** `repaired`: the stanza existed and was valid, and missing, corrupt or stale info files were written again. */
  readonly state: 'created' | 'repaired' | 'valid'
  /** Names of the info files that were written again. */
  readonly repaired: readonly string[]
}

/**
 * Prepares one repository for a stanza. If the stanza exists, it only checks it, and writes a missing, corrupt or stale
 * file of a pair again.
 *
 * @throws PgtsError path-not-empty: the directory has content, but no info file; file-missing: only one kind of info
 * file exists; file-invalid: the info files contradict each other or the cluster
 */
export async function createStanza(
  repository: Repository,
  stanza: string,
  cluster: NewCluster,
  options: { readonly signal: AbortSignal; readonly log: Logger },
): Promise<CreatedStanza> {
  const { key, storage } = repository
  const archive = await pairOf(storage, archiveInfoName(stanza))
  const backup = await pairOf(storage, backupInfoName(stanza))

  if (archive.present === 0 && backup.present === 0) {
    await requireEmpty(repository, stanza)
    return createNew(repository, stanza, cluster)
  }
  if (archive.present === 0 || backup.present === 0) {
    const [there, missing] = archive.present === 0 ? ['backup.info', 'archive.info'] : ['archive.info', 'backup.info']
    throw new PgtsError(
      'file-missing',
      `${there} exists but ${missing} is missing on ${repoId(key)} (${storage.display})`,
      {
        hints: [
          'check whether files were removed by hand or by a cleanup job',
          'if an earlier stanza-create was interrupted and the stanza has no backups and no WAL yet, ' +
            `remove ${archivePath(stanza)} and ${backupPath(stanza)} from the repository and run stanza-create again`,
        ],
      },
    )
  }

  const { archiveId, archiveInfo, backupInfo } = await checkStanzaInfo(repository, stanza, cluster, options)
  const repaired = [...(await completePair(storage, archive)), ...(await completePair(storage, backup))]
  if (archive.present === 2 && !(await isCopyCurrent(repository, archiveInfoName(stanza), options))) {
    await saveArchiveInfo(repository, stanza, archiveInfo)
    repaired.push(archiveInfoName(stanza))
  }
  if (backup.present === 2 && !(await isCopyCurrent(repository, backupInfoName(stanza), options))) {
    await saveBackupInfo(repository, stanza, backupInfo)
    repaired.push(backupInfoName(stanza))
  }
  return { repoKey: key, archiveId, state: repaired.length > 0 ? 'repaired' : 'valid', repaired }
}

/** archive.info is written first: a backup.info alone would look like a stanza that lost its archive.info. */
async function createNew(repository: Repository, stanza: string, cluster: NewCluster): Promise<CreatedStanza> {
  const { key } = repository
  const { systemId, version, controlVersion, catalogVersion } = cluster
  const common = { backrestVersion: writerVersion, currentId: 1 }
  // The archive and the manifests have their own passphrases for the lifetime of the repository.
  const ownPass = () => (repository.cipher === undefined ? {} : { cipherPass: newPassphrase() })
  await saveArchiveInfo(repository, stanza, { ...common, ...ownPass(), history: [{ id: 1, systemId, version }] })
  await saveBackupInfo(repository, stanza, {
    ...common,
    ...ownPass(),
    history: [{ id: 1, systemId, version, catalogVersion, controlVersion }],
    backups: [],
  })
  return { repoKey: key, archiveId: `${version}-1`, state: 'created', repaired: [] }
}

async function requireEmpty({ key, storage }: Repository, stanza: string): Promise<void> {
  const full: string[] = []
  for (const path of [archivePath(stanza), backupPath(stanza)]) {
    for await (const entry of storage.list(path, { namesOnly: true })) {
      // A temporary file that a killed run left is harmless.
      if (baseName(entry.name).endsWith('.pgbackrest.tmp')) continue
      full.push(path)
      break
    }
  }
  if (full.length === 0) return
  throw new PgtsError(
    'path-not-empty',
    `${full.join(' and ')} on ${repoId(key)} (${storage.display}) not empty, but without info files`,
    {
      hints: [
        'check the repository and the name of the stanza',
        'if archive.info and backup.info were lost, do not remove the other files before you know that the backups are not needed',
      ],
    },
  )
}

interface Pair {
  readonly present: 0 | 1 | 2
  readonly names: readonly { readonly name: ByteString; readonly exists: boolean }[]
}

async function pairOf(storage: StorageDriver, name: ByteString): Promise<Pair> {
  const names: { name: ByteString; exists: boolean }[] = []
  for (const one of [name, copyName(name)]) names.push({ name: one, exists: (await storage.stat(one)) !== undefined })
  return { present: names.filter((one) => one.exists).length as Pair['present'], names }
}

/** Writes the missing file of each pair from the other, byte for byte; the pair was checked before. */
async function completePair(storage: StorageDriver, pair: Pair): Promise<string[]> {
  const source = pair.names.find((one) => one.exists)
  const missing = pair.names.find((one) => !one.exists)
  if (source === undefined || missing === undefined) return []
  await putFile(storage, missing.name, await getFile(storage, source.name))
  return [missing.name]
}
