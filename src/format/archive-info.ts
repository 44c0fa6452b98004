import { bytesToText } from '../util/byte-string.ts'
import { PgtsError } from '../util/error.ts'
import { quoteJson, serialiseJson, type JsonObject } from './canonical-json.ts'
import { extraLines, withExtraLines, type ExtraLine } from './extra-lines.ts'
import { parseInfoFile, serialiseInfoFile, type InfoFile, type InfoSection } from './info-file.ts'
import { carriedMembers, Members, U32_MAX, withCarried } from './json-members.ts'

/** archive.info: the clusters that have archived under this stanza (docs/format/info-files.md). */
export interface ArchiveHistory {
  /** History id, from 1; the number after the dash of an archive id such as `15-1`. */
  readonly id: number
  readonly systemId: bigint
  /** `"9.6"`, `"15"`. */
  readonly version: string
  /** Members of a newer release, kept unchanged. */
  readonly extra?: JsonObject
}

export interface ArchiveInfo {
  /** Version of the program that saved the file. */
  readonly backrestVersion: string
  /** History id of the current cluster. */
  readonly currentId: number
  /** Oldest first. */
  readonly history: readonly ArchiveHistory[]
  /** Passphrase of the archived files, in an encrypted repository. */
  readonly cipherPass?: string
  /** Lines of a newer release, kept unchanged. */
  readonly extra?: readonly ExtraLine[]
}

const WHAT = 'archive.info'
const HISTORY_KEYS = ['db-id', 'db-version']

/** @throws PgtsError checksum, format, crypto: see parseInfoFile */
export function parseArchiveInfo(bytes: Buffer): ArchiveInfo {
  const file = parseInfoFile(bytes, WHAT)
  const history = readHistory(WHAT, file, (id, members) => ({
    id,
    systemId: members.u64('db-id'),
    version: members.postgresVersion('db-version'),
    ...carriedMembers(members.rest(), HISTORY_KEYS),
  }))
  return {
    backrestVersion: file.backrestVersion,
    currentId: readCurrentId(WHAT, file, history),
    history,
    ...readCipherPass(WHAT, file),
    ...extraLines(file, {
      cipher: ['cipher-pass'],
      db: ['db-id', 'db-system-id', 'db-version'],
      'db:history': 'all',
    }),
  }
}

/** @param backrestVersion of the program that saves: `writerVersion`, unless a file is reproduced */
export function serialiseArchiveInfo(info: ArchiveInfo, backrestVersion: string): Buffer {
  const current = currentHistory(info)
  const sections: InfoSection[] = [
    ...cipherSection(info.cipherPass),
    {
      name: 'db',
      entries: [
        ['db-id', String(current.id)],
        ['db-system-id', String(current.systemId)],
        ['db-version', quoteJson(current.version)],
      ],
    },
    {
      name: 'db:history',
      entries: info.history.map(({ id, systemId, version, extra }) => [
        String(id),
        serialiseJson(withCarried({ 'db-id': systemId, 'db-version': version }, extra)),
      ]),
    },
  ]
  return serialiseInfoFile(withExtraLines(sections, info.extra), backrestVersion)
}

/** The cluster that can archive and be backed up now; for both info files. */
export function currentHistory<H extends { readonly id: number }>(info: {
  readonly currentId: number
  readonly history: readonly H[]
}): H {
  const current = info.history.find(({ id }) => id === info.currentId)
  if (current === undefined) throw new PgtsError('format', `history id ${info.currentId} is not in the history`)
  return current
}

/** `15-1`: the directory of one cluster's WAL. */
export function archiveIdOf(history: { readonly id: number; readonly version: string }): string {
  return `${history.version}-${history.id}`
}

/**
 * History entries of one cluster, newest first: its WAL may be in any of them (upgrades back and forth create several).
 */
export function historyMatching(info: ArchiveInfo, version: string, systemId: bigint): ArchiveHistory[] {
  return info.history.filter((entry) => entry.version === version && entry.systemId === systemId).reverse()
}

/** Archive ids of one cluster, newest first. */
export function archiveIdsMatching(info: ArchiveInfo, version: string, systemId: bigint): string[] {
  return historyMatching(info, version, systemId).map(archiveIdOf)
}

/** `[db:history]` in file order, which is by id; checks that ids are valid and unique. */
export function readHistory<H extends { readonly id: number }>(
  what: string,
  file: InfoFile,
  read: (id: number, members: Members) => H,
): H[] {
  const history = new Map<number, H>()
  for (const [key, value] of file.sections.get('db:history')?.entries ?? []) {
    const id = /^[1-9][0-9]{0,9}$/.test(key) ? Number(key) : 0
    if (id < 1 || id > U32_MAX) throw new PgtsError('format', `${what}: '${bytesToText(key)}' is not a history id`)
    history.set(id, read(id, Members.ofJson(`${what}, history ${bytesToText(key)}`, value)))
  }
  if (history.size === 0) throw new PgtsError('format', `${what} contains no cluster history`)
  return [...history.values()].sort((a, b) => a.id - b.id)
}

export function readCurrentId(what: string, file: InfoFile, history: readonly { readonly id: number }[]): number {
  const currentId = Members.ofSection(what, file.sections.get('db')).integer('db-id', U32_MAX)
  if (!history.some(({ id }) => id === currentId)) {
    throw new PgtsError('format', `${what}: the current history id ${currentId} is not in the history`)
  }
  return currentId
}

export function readCipherPass(what: string, file: InfoFile): { cipherPass?: string } {
  const cipherPass = Members.ofSection(what, file.sections.get('cipher')).optionalString('cipher-pass')
  return cipherPass === undefined ? {} : { cipherPass }
}

export function cipherSection(cipherPass: string | undefined): InfoSection[] {
  return cipherPass === undefined ? [] : [{ name: 'cipher', entries: [['cipher-pass', quoteJson(cipherPass)]] }]
}
