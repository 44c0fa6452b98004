import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { manifestDefaults } from '../../../src/format/manifest-check.ts'
import { type Manifest, type ManifestFile } from '../../../src/format/manifest.ts'
import { fileRepoName } from '../../../src/format/repo-path.ts'

export const LABEL = '20260102-030405F'
export const OWNER = { user: 'postgres', group: 'postgres' } as const

export function sha1(content: string | Buffer): string {
  return createHash('sha1').update(content).digest('hex')
}

/** A file entry; `content` is a byte string. */
export function aFile(name: string, content = name, more: Partial<ManifestFile> = {}): ManifestFile {
  return {
    name,
    ...OWNER,
    mode: 0o600,
    sizeBytes: content.length,
    timestamp: 1_767_323_000,
    checksum: content === '' ? undefined : sha1(Buffer.from(content, 'latin1')),
    ...more,
  }
}

/** A full, online backup of PostgreSQL 15; directories of the given files and links, and no others. */
export function aManifest(files: readonly ManifestFile[], more: Partial<Manifest> = {}): Manifest {
  const names = new Set(['pg_data'])
  for (const { name } of [...files, ...(more.links ?? [])]) {
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) names.add(name.slice(0, at))
  }
  const data = { name: 'pg_data', ...OWNER, mode: 0o700 }
  return {
    backrestVersion: '2.59.1',
    label: LABEL,
    type: 'full',
    references: [LABEL],
    archiveStart: '000000010000000000000002',
    archiveStop: '000000010000000000000002',
    lsnStart: '0/2000028',
    lsnStop: '0/2000100',
    timestampStart: 1_767_323_045,
    timestampCopyStart: 1_767_323_046,
    timestampStop: 1_767_323_050,
    bundle: false,
    bundleRaw: false,
    blockIncremental: false,
    db: {
      historyId: 1,
      systemId: 6569239123849665679n,
      version: '15',
      catalogVersion: 202209061,
      controlVersion: 1300,
    },
    options: {
      archiveCheck: true,
      archiveCopy: false,
      backupStandby: false,
      checksumPage: true,
      compress: false,
      compressType: 'none',
      hardlink: false,
      online: true,
    },
    targets: [{ name: 'pg_data', type: 'path', path: '/pgdata' }],
    databases: [],
    annotations: new Map(),
    files,
    links: [],
    paths: [...names].sort().map((name) => ({ ...data, name })),
    defaults: manifestDefaults(data, false),
    ...more,
  }
}

/** Put the content of files where the manifest says, in the backup's compress type (none or gz). */
export function storeContent(
  root: string,
  stanza: string,
  manifest: Manifest,
  contents: ReadonlyMap<string, string>,
): void {
  for (const file of manifest.files) {
    const content = Buffer.from(contents.get(file.name) ?? file.name, 'latin1')
    const path = join(root, fileRepoName(stanza, file, manifest.label, manifest.options.compressType))
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, manifest.options.compressType === 'gz' ? gzipSync(content) : content)
  }
}
