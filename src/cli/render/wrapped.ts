export const WIDTH = 80

/** Wrap words into lines of at most 80 columns; a longer word gets its own line. */
export function wrapped(text: string, first: string, following: string): string[] {
  const out: string[] = []
  let line = first
  let empty = true
  for (const word of text.split(' ')) {
    if (!empty && line.length + 1 + word.length > WIDTH) {
      out.push(line)
      line = following
      empty = true
    }
    line += empty ? word : ` ${word}`
    empty = false
  }
  return [...out, line]
}
