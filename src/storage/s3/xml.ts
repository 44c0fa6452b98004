import { parseXML } from '@aws-sdk/xml-builder'

/** An element as the parser of AWS's library returns it: text, child elements by name, or a list of several. */
export type XmlElement = Readonly<Record<string, unknown>>

/** @param failure converts the error of the parser */
export function rootOf(xml: string, failure: (error: unknown) => unknown): XmlElement {
  try {
    return childrenOf(Object.values(parseXML(xml) as XmlElement)[0])
  } catch (error) {
    throw failure(error)
  }
}

/** The child elements of this name: none, one or several. */
export function elementsIn(element: XmlElement, name: string): XmlElement[] {
  const found = element[name]
  return found === undefined ? [] : (Array.isArray(found) ? found : [found]).map(childrenOf)
}

function childrenOf(value: unknown): XmlElement {
  return typeof value === 'object' && value !== null ? (value as XmlElement) : {}
}

export function textIn(element: XmlElement, name: string): string | undefined {
  const value = element[name]
  return typeof value === 'string' ? value : undefined
}

export function isTruncated(listing: XmlElement): boolean {
  return textIn(listing, 'IsTruncated')?.toLowerCase() === 'true'
}
