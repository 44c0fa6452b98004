/** archive.info: which clusters have archived under this stanza (docs/format/info-files.md). */
export interface ArchiveHistory {
  /** History id, from 1; the number after the dash of an archive id such as `15-1`. */
  readonly id: number
  readonly systemId: bigint
  /** `"9.6"`, `"15"`. */
  readonly version: string
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
}
