import { SHA1_OF_NOTHING } from '../../format/manifest.ts'
import type { BlocksOfBackup, ListedFile, ManifestReport } from '../../core/manifest/report.ts'
import { quoteJson } from '../../format/canonical-json.ts'
import { asBytes, bytesToText, decodeUtf8, type ByteString } from '../../util/byte-string.ts'
import { formatSize } from '../../util/format-size.ts'
import { localDateTime, two } from '../../util/local-time.ts'

/** The report of `manifest`, in pieces: a backup may have a million files. No newline after JSON, as in pgBackRest. */
export async function* renderManifest(report: ManifestReport, output: 'text' | 'json'): AsyncGenerator<string> {
  const pieces = output === 'json' ? jsonPieces(report) : textPieces(report)
  // Names in the text form are escaped one by one, so this form is text already.
  const decode = output === 'json' ? (text: string) => decodeUtf8(asBytes(text)) : (text: string) => text
  let gathered = ''
  for (const piece of pieces) {
    gathered += piece
    if (gathered.length < PIECE_LENGTH) continue
    yield decode(gathered)
    gathered = ''
  }
  yield decode(gathered)
}

const PIECE_LENGTH = 64 * 1024

/** Members come in pgBackRest's order, which is not sorted. */
function* jsonPieces(report: ManifestReport): Generator<string> {
  const { timestampStart, timestampCopyStart, timestampStop } = report
  yield (
    `{"label":${quoteJson(report.label)},"reference":[${report.references.map(quoteJson).join(',')}]` +
    `,"type":"${report.type}"` +
    `,"time":{"start":${timestampStart},"copy":${timestampCopyStart},"stop":${timestampStop}}` +
    `,"bundle":{"bundle":${report.bundle},"raw":${report.bundleRaw}},"block":{"block":${report.block}},"fileList":[`
  )
  let first = true
  for (const file of report.files) {
    yield `${first ? '' : ','}${fileJson(file)}`
    first = false
  }
  yield ']}'
}

function fileJson({ file, blocks }: ListedFile): string {
  const members = [`"name":${quoteJson(file.name)}`]
  if (file.reference !== undefined) members.push(`"reference":${quoteJson(file.reference)}`)
  members.push(`"size":${file.sizeBytes}`, `"checksum":"${file.checksum ?? SHA1_OF_NOTHING}"`)
  members.push(`"repo":{"size":${file.repoSizeBytes ?? file.sizeBytes}}`)
  if (file.bundleId !== undefined) members.push(`"bundle":{"id":${file.bundleId},"offset":${file.bundleOffset ?? 0}}`)
  if (file.blockMapSize !== undefined) {
    const delta = blocks === undefined ? '' : `,"delta":[${blocks.map(blocksJson).join(',')}]`
    members.push(
      `"block":{"size":${file.blockSize},"map":{"size":${file.blockMapSize}${delta}}` +
        `,"checksum":{"size":${file.blockChecksumSize}}}`,
    )
  }
  return `{${members.join(',')}}`
}

function blocksJson(part: BlocksOfBackup): string {
  return (
    `{"reference":${part.reference},"read":{"total":${part.reads},"size":${part.readBytes}}` +
    `,"superBlock":{"total":${part.superBlocks},"size":${part.superBlockBytes}},"block":{"total":${part.blocks}}}`
  )
}

function* textPieces(report: ManifestReport): Generator<string> {
  const { timestampStart: start, timestampStop: stop } = report
  const seconds = stop - start
  const duration = `${Math.trunc(seconds / 3600)}:${two(Math.trunc((seconds % 3600) / 60))}:${two(seconds % 60)}`
  yield (
    `label: ${report.label}\nreference: ${report.references.join(', ')}\ntype: ${report.type}\n` +
    `time: start: ${localDateTime(start)}, stop: ${localDateTime(stop)}, duration: ${duration}\n` +
    `bundle: ${report.bundle}\nblock: ${report.block}\n\nfile list:\n`
  )
  let first = true
  for (const file of report.files) {
    yield `${first ? '' : '\n'}${fileText(file)}`
    first = false
  }
}

function fileText({ file, blocks }: ListedFile): string {
  const lines = [`  - ${bytesToText(file.name)}`]
  if (file.reference !== undefined) lines.push(`      reference: ${file.reference}`)
  lines.push(`      size: ${formatSize(file.sizeBytes)}, repo ${formatSize(file.repoSizeBytes ?? file.sizeBytes)}`)
  lines.push(`      checksum: ${file.checksum ?? SHA1_OF_NOTHING}`)
  if (file.bundleId !== undefined) lines.push(`      bundle: ${file.bundleId}`)
  if (file.blockMapSize !== undefined) {
    const { blockSize = 0, blockMapSize, blockChecksumSize = 0 } = file
    lines.push(
      `      block: size ${formatSize(blockSize)}, map size ${formatSize(blockMapSize)}, ` +
        `checksum size ${formatSize(blockChecksumSize)}`,
    )
    if (blocks !== undefined) lines.push('      block delta:', ...blocksText(blocks))
  }
  return `${lines.join('\n')}\n`
}

function blocksText(parts: readonly BlocksOfBackup[]): string[] {
  const counts = (what: readonly BlocksOfBackup[]) => {
    const sum = (key: Exclude<keyof BlocksOfBackup, 'repoName'>) => what.reduce((total, part) => total + part[key], 0)
    const of = (count: number, bytes: number) => `${count}/${formatSize(bytes)}`
    return (
      `read: ${of(sum('reads'), sum('readBytes'))}, superBlock: ${of(sum('superBlocks'), sum('superBlockBytes'))}, ` +
      `block: ${of(sum('blocks'), sum('blockBytes'))}`
    )
  }
  return [
    ...parts.map((part) => `        reference: ${bytesToText(shortName(part.repoName))}, ${counts([part])}`),
    `        total ${counts(parts)}`,
  ]
}

/** The part from the label on. */
function shortName(repoName: ByteString): ByteString {
  return repoName.replace(/^[^/]*\/[^/]*\//, '')
}
