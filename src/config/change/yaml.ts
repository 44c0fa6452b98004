import * as yaml from 'yaml'
import { PgtsError } from '../../util/error.ts'
import { NEW_FILE_COMMENT, type ConfigChange, type NewSetting } from './change.ts'

/**
 * The text of a pgts.yaml with these settings added. A stanza that is added to others leaves every other byte as it is; for
 * other changes the text is written again, with its comments.
 *
 * @param text '' for a new file
 */
export function changedYaml(text: string, change: ConfigChange): string {
  const document = yaml.parseDocument(text, { prettyErrors: false })
  if (document.errors.length > 0) throw new PgtsError('assert', 'the configuration was not checked before its change')
  const inserted = change.global.length === 0 ? withStanza(text, document, change) : undefined
  if (inserted !== undefined) return inserted
  if (document.contents === null) document.commentBefore = NEW_FILE_COMMENT.map((line) => ` ${line}`).join('\n')
  for (const setting of change.global) set(document, ['global'], setting)
  for (const setting of change.ofStanza) set(document, ['stanza', change.stanza], setting)
  return document.toString({ lineWidth: 0 })
}

function set(document: yaml.Document, section: readonly string[], { option, key, value }: NewSetting): void {
  const [, group = '', name = ''] = /^(repo|pg)-(.*)$/.exec(option) ?? []
  const path = key === 0 ? [option] : [group, key - 1, name]
  document.setIn([...section, ...path], typeof value === 'object' ? [...value] : value)
}

/** The lines of a stanza behind the last one; undefined if the file has no stanza in lines. */
function withStanza(text: string, document: yaml.Document, { stanza, ofStanza }: ConfigChange): string | undefined {
  const stanzas = document.get('stanza', true)
  if (!yaml.isMap(stanzas) || stanzas.flow === true || stanzas.has(stanza)) return undefined
  const first = stanzas.items[0]?.key
  if (!yaml.isScalar(first) || !first.range || !stanzas.range) return undefined
  const indent = ' '.repeat(first.range[0] - (text.lastIndexOf('\n', first.range[0]) + 1))
  const added = new yaml.Document({})
  for (const setting of ofStanza) set(added, [stanza], setting)
  const lines = added.toString({ lineWidth: 0 }).trimEnd().split('\n')
  const before = text.slice(0, stanzas.range[2])
  const start = before.endsWith('\n') ? before : `${before}\n`
  return `${start}${lines.map((line) => `${indent}${line}\n`).join('')}${text.slice(stanzas.range[2])}`
}
