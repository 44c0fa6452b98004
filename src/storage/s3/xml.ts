import { PgtsError } from '../../util/error.ts'

/** An element of an answer. Attributes and namespaces carry nothing that concerns us, and are dropped. */
export interface XmlElement {
  readonly name: string
  /** Text directly inside. */
  readonly text: string
  readonly children: readonly XmlElement[]
}

interface OpenElement {
  name: string
  text: string
  children: OpenElement[]
}

/**
 * Read the XML that an S3 service answers with: elements and text. Document types are skipped and define nothing, so
 * an answer cannot grow or read files here.
 *
 * @throws PgtsError format, when elements do not close as they opened
 */
export function parseXml(document: string): XmlElement {
  const root: OpenElement = { name: '', text: '', children: [] }
  const open: OpenElement[] = [root]
  let at = 0
  while (at < document.length) {
    const tag = document.indexOf('<', at)
    const parent = open[open.length - 1]!
    if (tag !== at) parent.text += unescapeXml(document.slice(at, tag === -1 ? undefined : tag))
    if (tag === -1) break
    const skipped = SKIPPED.find(([begin]) => document.startsWith(begin, tag))
    if (skipped !== undefined) {
      const [begin, end] = skipped
      const stop = document.indexOf(end, tag + begin.length)
      if (stop === -1) break
      if (begin === CDATA) parent.text += document.slice(tag + begin.length, stop)
      at = stop + end.length
      continue
    }
    const stop = document.indexOf('>', tag)
    if (stop === -1) throw broken('a tag does not end')
    at = stop + 1
    if (document[tag + 1] === '/') {
      const name = localName(document.slice(tag + 2, stop).trim())
      if (open.length === 1 || open.pop()!.name !== name) throw broken(`${name} is closed and was not opened`)
      continue
    }
    const empty = document[stop - 1] === '/'
    const inside = document.slice(tag + 1, empty ? stop - 1 : stop)
    const element = { name: localName(/^\S+/.exec(inside)?.[0] ?? ''), text: '', children: [] }
    parent.children.push(element)
    if (!empty) open.push(element)
  }
  const [first] = root.children
  if (open.length > 1 || first === undefined) throw broken('it ends early')
  return first
}

const CDATA = '<![CDATA['
const SKIPPED = [
  [CDATA, ']]>'],
  ['<!--', '-->'],
  ['<?', '?>'],
  ['<!', '>'],
] as const

function localName(name: string): string {
  return name.slice(name.indexOf(':') + 1)
}

function broken(why: string): PgtsError {
  return new PgtsError('format', `the answer is not XML: ${why}`)
}

export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return element?.children.find((child) => child.name === name)
}

/** The text of a child; undefined when it is absent or empty. */
export function textOf(element: XmlElement | undefined, name: string): string | undefined {
  return childOf(element, name)?.text || undefined
}

const ENTITIES: Record<string, string> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

function unescapeXml(text: string): string {
  if (!text.includes('&')) return text
  return text.replaceAll(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (whole, entity: string) => {
    if (!entity.startsWith('#')) return ENTITIES[entity] ?? whole
    const code = Number(entity.startsWith('#x') ? `0${entity.slice(1)}` : entity.slice(1))
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole
  })
}

export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** Can XML carry these characters at all? Most control characters it cannot, not even escaped. */
export function fitsXml(text: string): boolean {
  return !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/.test(text)
}
