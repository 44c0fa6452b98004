import { isUtf8 } from 'node:buffer'
import { asBytes, decodeUtf8, textToBytes, type ByteString } from '../../util/byte-string.ts'

/** True if the name is UTF-8. S3 and the library accept nothing else. */
export function isText(name: string): boolean {
  return isUtf8(Buffer.from(name, 'latin1'))
}

/**
 * Converts a name or marker to text for the library. Invalid UTF-8 is replaced here, because the library would fail to
 * encode the path; `requests.ts` writes the correct path of every name itself.
 */
export function textKey(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8')
}

/** True if XML can carry the name. Most control characters cannot appear in XML, not even escaped. */
export function fitsXml(name: ByteString): boolean {
  return isText(name) && !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(decodeUtf8(name))
}

/** Encodes a name for the path of a URL, in the one form that signatures allow; also for names that are not UTF-8. */
export function uriEncodePath(bytes: string): string {
  let encoded = ''
  for (let i = 0; i < bytes.length; i++) encoded += ESCAPED_IN_PATH[bytes.charCodeAt(i)]
  return encoded
}

const ESCAPED_IN_PATH = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return /[A-Za-z0-9._~/-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})

/** Decodes to a byte string. Listings encode a space as `+`; a `%` without two hex digits stands for itself. */
export function uriDecode(text: string): ByteString {
  if (!/[%+]/.test(text)) return asBytes(text)
  const decoded = text.replaceAll('+', ' ').replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
  return asBytes(decoded)
}

/** Returns a decoder for the names in an answer: a service without URL encoding omits EncodingType. */
export function nameReader({ EncodingType }: { EncodingType?: string }): (text?: string) => ByteString {
  return (text = '') => (EncodingType === 'url' ? uriDecode(text) : textToBytes(text))
}
