import type { ManifestFile } from '../../format/manifest.ts'
import { bytesToText } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'

const SHOWN_PAGES = 20
const SHOWN_FILES = 5

export interface DamagedFile {
  readonly file: ManifestFile
  /** `database.schema.relation`, if known. */
  readonly relation?: string
}

/** A message for the operator: which pages of which relation have an invalid checksum. */
export function describePageErrors({ file, relation }: DamagedFile): string {
  const path = bytesToText(file.name).replace(/^pg_data\//, '')
  const name = relation === undefined ? path : `${path} (${relation})`
  const errors = file.checksumPageErrors
  if (errors === undefined)
    return `page misalignment in file ${name}: its size ${file.sizeBytes} is not a multiple of the page size`
  const ranges = errors.map((error) => (typeof error === 'number' ? String(error) : `${error[0]}-${error[1]}`))
  const shown =
    ranges.slice(0, SHOWN_PAGES).join(', ') +
    (ranges.length > SHOWN_PAGES ? `, and ${ranges.length - SHOWN_PAGES} more` : '')
  const hint =
    relation === undefined
      ? 'find the relation with pg_filenode_relation and repair or restore it'
      : 'repair or restore the relation'
  const source =
    file.reference === undefined
      ? 'the backup contains these pages unchanged'
      : `the backup refers to backup ${file.reference}, which contains these pages unchanged`
  return `invalid page checksum(s) found in file ${name} at page(s) ${shown}` + `\nHINT: ${source}; ${hint}`
}

/** The names of these files for a message, at most five of them. */
export function listFiles(files: readonly ManifestFile[]): string {
  const names = files.slice(0, SHOWN_FILES).map(({ name }) => bytesToText(name))
  const more = files.length > SHOWN_FILES ? `, and ${files.length - SHOWN_FILES} more` : ''
  return `${names.join(', ')}${more}`
}

/** [026] for `checksum-page-error`: a file that this backup stores has invalid page checksums. */
export function refusePageErrors(file: ManifestFile): void {
  if (file.checksumPage !== false || file.reference !== undefined) return
  throw new PgtsError('checksum', describePageErrors({ file }), {
    hints: ['the backup was not finished, because checksum-page-error is on: the next one continues it'],
  })
}

/** `3 files contain invalid page checksums`. */
export function countFiles(files: readonly ManifestFile[]): string {
  return files.length === 1
    ? '1 file contains invalid page checksums'
    : `${files.length} files contain invalid page checksums`
}
