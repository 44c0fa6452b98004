import { parseBackupInfo, serialiseBackupInfo, type BackupInfo } from '../format/backup-info.ts'
import { backupInfoName } from '../format/repo-path.ts'
import { writerVersion } from '../util/version.ts'
import { infoCipherOf } from './info-cipher.ts'
import { STANZA_HINTS } from './info-missing.ts'
import { loadEither, requireMatchingPass, saveBoth, type LoadOptions } from './info-pair.ts'
import type { Repository } from './repository.ts'

/** @throws PgtsError as loadArchiveInfo */
export async function loadBackupInfo(
  repository: Repository,
  stanza: string,
  options: LoadOptions = {},
): Promise<BackupInfo> {
  const name = backupInfoName(stanza)
  const cipher = infoCipherOf(repository)
  const file = { name, cipher, parse: parseBackupInfo, missingHints: STANZA_HINTS }
  const info = await loadEither(repository.storage, file, options)
  requireMatchingPass(repository, info, 'backup.info')
  return info
}

/** Writes backup.info, then its copy; sets `backrest-version` to ours. */
export async function saveBackupInfo(repository: Repository, stanza: string, info: BackupInfo): Promise<void> {
  requireMatchingPass(repository, info, 'backup.info')
  const bytes = infoCipherOf(repository).close(serialiseBackupInfo(info, writerVersion))
  await saveBoth(repository.storage, backupInfoName(stanza), bytes)
}
