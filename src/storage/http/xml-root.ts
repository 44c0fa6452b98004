const BEGIN =
  /^\uFEFF?\s*(?:<\?xml[^>]*\?>)?(?:\s|<!--[\s\S]*?-->)*<(?<tag>(?:[\w.-]+:)?(?<name>[A-Za-z_][\w.-]*))(?:\s[^<>]*?)?(?<empty>\/)?>/

/** Name of the root element of a complete XML document, without its prefix; undefined for other or truncated text. */
export function xmlRoot(text: string): string | undefined {
  const { tag = '', name, empty } = BEGIN.exec(text)?.groups ?? {}
  const end = text.trimEnd()
  return empty !== undefined || end.endsWith(`</${tag}>`) ? name : undefined
}

/** Text of the first element of this name, without its prefix; undefined if there is none. */
export function xmlElement(text: string, name: string): string | undefined {
  const found = new RegExp(`<(?:[\\w.-]+:)?${name}(?:\\s[^<>]*?)?(?:/>|>([^<]*)</)`).exec(text)
  return found === null ? undefined : (found[1] ?? '').trim()
}
