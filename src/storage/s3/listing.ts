import { textToBytes } from '../../util/byte-string.ts'
import type { ObjectEntry, ObjectListRequest, ObjectPage } from '../object/client.ts'
import type { S3Request } from './requests.ts'
import { uriDecode } from './uri-encode.ts'
import { parseXml, textOf, type XmlElement } from './xml.ts'

/** Ask for one page of names. */
export function listRequest({ prefix, delimiter, after, signal }: ObjectListRequest): S3Request {
  return {
    action: 'list',
    method: 'GET',
    query: [
      ['list-type', '2'],
      // Names may hold what XML cannot carry.
      ['encoding-type', 'url'],
      ...(prefix === '' ? [] : [['prefix', prefix] as const]),
      ...(delimiter === undefined ? [] : [['delimiter', delimiter] as const]),
      ...(after === undefined ? [] : [['continuation-token', textToBytes(after)] as const]),
    ],
    ...(signal === undefined ? {} : { signal }),
  }
}

export function parsePage(text: string): ObjectPage {
  const root = parseXml(text)
  const name = nameReader(root)
  const objects: ObjectEntry[] = []
  const prefixes: string[] = []
  for (const child of root.children) {
    if (child.name === 'Contents') objects.push(entryOf(child, name))
    else if (child.name === 'CommonPrefixes') prefixes.push(name(textOf(child, 'Prefix')))
  }
  const next = textOf(root, 'IsTruncated') === 'true' ? textOf(root, 'NextContinuationToken') : undefined
  return { objects, prefixes, ...(next === undefined ? {} : { next }) }
}

/** `Contents` of a page or `Version` of a list of versions. */
export function entryOf(element: XmlElement, name: (text: string | undefined) => string): ObjectEntry {
  return {
    name: name(textOf(element, 'Key')),
    sizeBytes: Number(textOf(element, 'Size') ?? 0),
    mtimeMs: Date.parse(textOf(element, 'LastModified') ?? ''),
  }
}

/** How names are written in this answer: a service that does not know escapes says nothing of them. */
export function nameReader(root: XmlElement): (text: string | undefined) => string {
  const escaped = textOf(root, 'EncodingType') === 'url'
  return (text = '') => (escaped ? uriDecode(text) : textToBytes(text))
}
