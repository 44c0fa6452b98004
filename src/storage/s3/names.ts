import { isUtf8 } from 'node:buffer'
import { decodeUtf8, textToBytes } from '../../util/byte-string.ts'

/** Is this name text? S3 wants no other, and the library takes no other. */
export function isText(name: string): boolean {
  return isUtf8(Buffer.from(name, 'latin1'))
}

/**
 * A name or marker as the library takes it: text. Bytes that are no UTF-8 are replaced here, because encoding the path
 * would fail on them; `requests.ts` writes the path of every name itself.
 */
export function textKey(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8')
}

/** Can XML carry a name? Most control characters it cannot, not even escaped. */
export function fitsXml(name: string): boolean {
  return isText(name) && !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(decodeUtf8(name))
}

/** A name as the path of a URL carries it, in the one form that signatures allow; for bytes that are no text, too. */
export function uriEncodePath(bytes: string): string {
  let encoded = ''
  for (let i = 0; i < bytes.length; i++) encoded += ESCAPED_IN_PATH[bytes.charCodeAt(i)]
  return encoded
}

const ESCAPED_IN_PATH = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return /[A-Za-z0-9._~/-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

/** Back to a byte string. `+` means a space in what listings escape; a bare `%` is taken for itself. */
export function uriDecode(text: string): string {
  if (!/[%+]/.test(text)) return text
  return text.replaceAll('+', ' ').replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
}

/** How names are written in an answer: a service that does not know escapes says nothing of them. */
export function nameReader({ EncodingType }: { EncodingType?: string }): (text?: string) => string {
  return (text = '') => (EncodingType === 'url' ? uriDecode(text) : textToBytes(text))
}
