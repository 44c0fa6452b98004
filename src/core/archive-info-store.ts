import { parseArchiveInfo, serialiseArchiveInfo, type ArchiveInfo } from '../format/archive-info.ts'
import { archiveInfoName } from '../format/repo-path.ts'
import { writerVersion } from '../util/version.ts'
import { infoCipherOf } from './info-cipher.ts'
import { STANZA_HINTS } from './info-missing.ts'
import { loadEither, requireMatchingPass, saveBoth, type LoadOptions } from './info-pair.ts'
import type { Repository } from './repository.ts'

/**
 * @throws PgtsError file-missing if neither the file nor its copy exists; crypto if the passphrase, or its absence,
 * does not match the repository; if both files are unusable for the same reason the code of that failure, otherwise
 * file-invalid
 */
export async function loadArchiveInfo(
  repository: Repository,
  stanza: string,
  options: LoadOptions = {},
): Promise<ArchiveInfo> {
  const name = archiveInfoName(stanza)
  const cipher = infoCipherOf(repository)
  const file = { name, cipher, parse: parseOrRecall, missingHints: STANZA_HINTS }
  const info = await loadEither(repository.storage, file, options)
  requireMatchingPass(repository, info, 'archive.info')
  return info
}

/** Cache of the last parsed files. archive.info is read for every pushed segment, and changes once in years. */
const recalled: { readonly bytes: Buffer; readonly info: ArchiveInfo }[] = []
const MOST_RECALLED = 4

function parseOrRecall(bytes: Buffer): ArchiveInfo {
  const known = recalled.find((one) => one.bytes.equals(bytes))
  if (known !== undefined) return known.info
  const info = parseArchiveInfo(bytes)
  recalled.unshift({ bytes: Buffer.from(bytes), info })
  recalled.splice(MOST_RECALLED)
  return info
}

/** Writes archive.info, then its copy; sets `backrest-version` to ours. */
export async function saveArchiveInfo(repository: Repository, stanza: string, info: ArchiveInfo): Promise<void> {
  requireMatchingPass(repository, info, 'archive.info')
  const bytes = infoCipherOf(repository).close(serialiseArchiveInfo(info, writerVersion))
  await saveBoth(repository.storage, archiveInfoName(stanza), bytes)
}
