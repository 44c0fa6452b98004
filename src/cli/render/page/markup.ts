/** HTML that can be used as it is. */
export class Markup {
  constructor(readonly source: string) {}
}

type Value = string | number | Markup | undefined | readonly Markup[]

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Tag of a template of HTML or SVG: text is escaped, so that a name from a repository cannot become markup. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Markup {
  let source = parts[0]!
  for (const [index, value] of values.entries()) source += sourceOf(value) + parts[index + 1]!
  return new Markup(source)
}

function sourceOf(value: Value): string {
  if (value === undefined) return ''
  if (value instanceof Markup) return value.source
  if (typeof value === 'number') return String(Math.round(value * 100) / 100)
  if (typeof value === 'string') return value.replace(/[&<>"']/g, (character) => ENTITIES[character]!)
  return value.map(({ source }) => source).join('')
}
