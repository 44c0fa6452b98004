import type { BackupType, Manifest, ManifestFile } from '../../format/manifest.ts'
import type { ByteString } from '../../util/byte-string.ts'

/** A backup as its manifest describes it. Names are byte strings, sizes bytes, times seconds since the epoch. */
export interface ManifestReport {
  readonly label: string
  readonly references: readonly string[]
  readonly type: BackupType
  readonly timestampStart: number
  readonly timestampCopyStart: number
  readonly timestampStop: number
  readonly bundle: boolean
  readonly bundleRaw: boolean
  readonly block: boolean
  readonly files: readonly ListedFile[]
}

export interface ListedFile {
  readonly file: ManifestFile
  /** Location of its blocks; only for the one requested file. */
  readonly blocks?: readonly BlocksOfBackup[]
}

/** What restoring a block incremental file reads from one backup. */
export interface BlocksOfBackup {
  /** Index into the references. */
  readonly reference: number
  /** Relative to the root of the repository. */
  readonly repoName: ByteString
  readonly reads: number
  readonly readBytes: number
  readonly superBlocks: number
  readonly superBlockBytes: number
  readonly blocks: number
  readonly blockBytes: number
}

export interface FileChoice {
  /** Only this file, by its manifest name. */
  readonly name?: string
  /** Only files stored in this backup; `latest`: those stored in the backup of the manifest. */
  readonly reference?: string
}

export function chooseFiles(manifest: Manifest, { name, reference }: FileChoice): ManifestFile[] {
  const own = reference === 'latest' || reference === manifest.label
  const chosen: ManifestFile[] = []
  for (const file of manifest.files) {
    const isChosen =
      name !== undefined
        ? file.name === name
        : reference === undefined || (own ? file.reference === undefined : file.reference === reference)
    if (isChosen) chosen.push(file)
  }
  return chosen
}
