import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { childOf, escapeXml, fitsXml, parseXml, textOf } from '../../../../src/storage/s3/xml.ts'

describe('XML of a service', () => {
  test('elements, text, entities, CDATA; namespaces, attributes and comments are dropped', () => {
    const root = parseXml(
      `<?xml version="1.0" encoding="UTF-8"?>
      <!-- a note --><s3:List xmlns="http://s3.amazonaws.com/doc/2006-03-01/" a="b>
      <Contents><Key>a&amp;b &lt;&#233;&#x1F600;&gt;</Key><ETag/><Owner id="1" /></Contents><Note><![CDATA[<raw> & so]]></Note></s3:List>`.replace(
        'a="b>',
        'a="b">',
      ),
    )
    expect(root.name).toBe('List')
    expect(textOf(childOf(root, 'Contents'), 'Key')).toBe('a&b <é😀>')
    expect(textOf(childOf(root, 'Contents'), 'ETag')).toBeUndefined()
    expect(textOf(root, 'Note')).toBe('<raw> & so')
    expect(root.children.map(({ name }) => name)).toEqual(['Contents', 'Note'])
  })

  test('a document type defines nothing', () => {
    const root = parseXml('<!DOCTYPE a><a>&b;&lt;</a>')
    expect(root.text).toBe('&b;<')
  })

  test.each(['', 'plain words', '<a><b></a></b>', '<a>', '<a><b', '</a>', '<a/></b>'])('%j is refused', (text) => {
    expect(() => parseXml(text)).toThrow(expect.objectContaining({ code: 'format' }))
  })

  test('what was escaped is read back', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }).filter((text) => fitsXml(text) && isText(text)),
        (text) => {
          expect(parseXml(`<a>${escapeXml(text)}</a>`).text).toBe(text)
        },
      ),
    )
  })

  test('control characters fit into no document', () => {
    expect(fitsXml('a\tb\r\n')).toBe(true)
    for (const text of ['\0', '\x01', '\x1f', '\ufffe']) expect(fitsXml(text)).toBe(false)
  })
})

/** Without half surrogate pairs. */
function isText(value: string): boolean {
  return Buffer.from(value).toString() === value
}
