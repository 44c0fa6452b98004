import * as yaml from 'yaml'
import { PgtsError } from '../../util/error.ts'
import { NEW_FILE_COMMENT, type ConfigChange, type NewSetting } from './change.ts'

/**
 * The text of a pgts.yaml with these settings added; comments and layout of an existing text are kept.
 *
 * @param text '' for a new file
 */
export function changedYaml(text: string, change: ConfigChange): string {
  const document = yaml.parseDocument(text, { prettyErrors: false })
  if (document.errors.length > 0) throw new PgtsError('assert', 'the configuration was not checked before its change')
  if (document.contents === null) document.commentBefore = NEW_FILE_COMMENT.map((line) => ` ${line}`).join('\n')
  const set = (section: readonly string[], { option, key, value }: NewSetting) => {
    const [, group = '', name = ''] = /^(repo|pg)-(.*)$/.exec(option) ?? []
    const path = key === 0 ? [option] : [group, key - 1, name]
    document.setIn([...section, ...path], typeof value === 'object' ? [...value] : value)
  }
  for (const setting of change.global) set(['global'], setting)
  for (const setting of change.ofStanza) set(['stanza', change.stanza], setting)
  return document.toString({ lineWidth: 0 })
}
