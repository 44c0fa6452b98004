import { NEW_FILE_COMMENT, type ConfigChange, type NewSetting } from './change.ts'

/**
 * The text of a pgbackrest.conf with these settings added at its end.
 *
 * @param text '' for a new file
 */
export function changedIni(text: string, change: ConfigChange): string {
  const head = text.trim() === '' ? NEW_FILE_COMMENT.map((line) => `# ${line}`).join('\n') : text.trimEnd()
  const sections = [
    ...(change.global.length === 0 ? [] : [section('global', change.global)]),
    section(change.stanza, change.ofStanza),
  ]
  return `${[head, ...sections].join('\n\n')}\n`
}

function section(name: string, settings: readonly NewSetting[]): string {
  return [`[${name}]`, ...settings.flatMap(linesOf)].join('\n')
}

function linesOf({ option, key, value }: NewSetting): string[] {
  const name = key === 0 ? option : option.replace(/^(repo|pg)-/, `$1${key}-`)
  const values = typeof value === 'object' ? value : [typeof value === 'boolean' ? (value ? 'y' : 'n') : value]
  return values.map((one) => `${name}=${one}`)
}
