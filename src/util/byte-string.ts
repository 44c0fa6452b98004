/**
 * File names, and everything read from a repository, travel as byte strings: latin1 strings in which one character is
 * one byte. They lose nothing, compare as bytes do, and become text only at the edges (terminal, SQL, JSON).
 */
export function bytesToText(byteString: string): string {
  return isAscii(byteString) ? byteString : Buffer.from(byteString, 'latin1').toString('utf8')
}

export function textToBytes(text: string): string {
  return isAscii(text) ? text : Buffer.from(text, 'utf8').toString('latin1')
}

/** For the functions of `node:fs`, which take text or bytes. */
export function pathOf(byteString: string): string | Buffer {
  return isAscii(byteString) ? byteString : Buffer.from(byteString, 'latin1')
}

/** Byte order; never locale order. */
export function compareBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false
  return true
}
