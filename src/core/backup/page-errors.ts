import type { ManifestFile } from '../../format/manifest.ts'
import { bytesToText } from '../../util/byte-string.ts'

const SHOWN = 20

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
  const shown = ranges.slice(0, SHOWN).join(', ') + (ranges.length > SHOWN ? `, and ${ranges.length - SHOWN} more` : '')
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
