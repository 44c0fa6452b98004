import type { ManifestFile } from '../../format/manifest.ts'
import { bytesToText } from '../../util/byte-string.ts'

const SHOWN = 20

/** A sentence for the operator: which pages of which file failed their checksum. */
export function describePageErrors(file: ManifestFile): string {
  const name = bytesToText(file.name).replace(/^pg_data\//, '')
  const errors = file.checksumPageErrors
  if (errors === undefined)
    return `page misalignment in file ${name}: its size ${file.sizeBytes} is no whole number of pages`
  const ranges = errors.map((error) => (typeof error === 'number' ? String(error) : `${error[0]}-${error[1]}`))
  const shown = ranges.slice(0, SHOWN).join(', ') + (ranges.length > SHOWN ? `, and ${ranges.length - SHOWN} more` : '')
  return (
    `invalid page checksum(s) found in file ${name} at page(s) ${shown}` +
    '\nHINT: the backup holds the pages as they are; find the relation with pg_filenode_relation and repair or restore it'
  )
}
