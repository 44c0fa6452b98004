/**
 * Bytes as a URI carries them, in the one form that signatures allow: everything but unreserved characters is escaped,
 * with capital hex digits.
 *
 * @param bytes byte string
 */
export function uriEncode(bytes: string): string {
  return encode(bytes, ESCAPED)
}

/** The same for a path, whose '/' stay. */
export function uriEncodePath(bytes: string): string {
  return encode(bytes, ESCAPED_IN_PATH)
}

/** Back to a byte string. `+` means a space in what listings escape; a bare `%` is taken for itself. */
export function uriDecode(text: string): string {
  if (!/[%+]/.test(text)) return text
  return text.replaceAll('+', ' ').replaceAll(/%([0-9A-Fa-f]{2})/g, (_, hex: string) => {
    return String.fromCharCode(Number.parseInt(hex, 16))
  })
}

const ESCAPED = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte)
  return /[A-Za-z0-9._~-]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
})
const ESCAPED_IN_PATH = ESCAPED.with('/'.charCodeAt(0), '/')

function encode(bytes: string, table: readonly string[]): string {
  let encoded = ''
  for (let i = 0; i < bytes.length; i++) encoded += table[bytes.charCodeAt(i)]
  return encoded
}
