import { serialiseJson } from '../../format/canonical-json.ts'
import type { ListedFile } from '../../core/repo/list.ts'
import { bytesToText, decodeUtf8, type ByteString } from '../../util/byte-string.ts'

/** In the form of pgBackRest: names, or one object with a member for each entry. In pieces, because it can be long. */
export async function* renderRepoLs(files: AsyncIterable<ListedFile>, output: 'text' | 'json'): AsyncIterable<string> {
  if (output === 'text') {
    let lines = ''
    for await (const { name, kind } of files) {
      if (name === '.' && kind === 'path') continue
      lines += `${bytesToText(name)}\n`
      if (lines.length > PIECE) {
        yield lines
        lines = ''
      }
    }
    yield lines
    return
  }
  let text = '{'
  let first = true
  for await (const file of files) {
    text += `${first ? '' : ','}${quote(file.name)}:${member(file)}`
    first = false
    if (text.length > PIECE) {
      yield text
      text = ''
    }
  }
  yield `${text}}\n`
}

const PIECE = 64 * 1024

function member({ kind, sizeBytes, mtimeMs, destination }: ListedFile): string {
  const fields = [`"type":"${kind}"`]
  if (sizeBytes !== undefined) fields.push(`"size":${sizeBytes}`)
  if (mtimeMs !== undefined) fields.push(`"time":${Math.floor(mtimeMs / 1000)}`)
  if (destination !== undefined) fields.push(`"destination":${quote(destination)}`)
  return `{${fields.join(',')}}`
}

function quote(bytes: ByteString): string {
  return serialiseJson(decodeUtf8(bytes))
}
