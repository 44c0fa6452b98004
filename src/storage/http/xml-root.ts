const BEGIN =
  /^\uFEFF?\s*(?:<\?xml[^>]*\?>)?(?:\s|<!--[\s\S]*?-->)*<(?<tag>(?:[\w.-]+:)?(?<name>[A-Za-z_][\w.-]*))(?:\s[^<>]*?)?(?<empty>\/)?>/

/** Name of the root element, without its prefix, of a whole XML document; undefined for other text and a truncated one. */
export function xmlRoot(text: string): string | undefined {
  const { tag = '', name, empty } = BEGIN.exec(text)?.groups ?? {}
  const end = text.trimEnd()
  return empty !== undefined || end.endsWith(`</${tag}>`) ? name : undefined
}

/** Text of the first element of this name, without its prefix; undefined when there is none. */
export function xmlElement(text: string, name: string): string | undefined {
  const found = new RegExp(`<(?:[\\w.-]+:)?${name}(?:\\s[^<>]*?)?(?:/>|>([^<]*)</)`).exec(text)
  return found === null ? undefined : (found[1] ?? '').trim()
}
