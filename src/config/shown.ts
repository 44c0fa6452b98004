import { groupOf, optionNames, optionRow, type OptionName } from './option-table.ts'

/** A value for messages; secrets are redacted. */
export function textToShow(option: OptionName, typed: string): string {
  return optionRow(option).secret === true ? '<redacted>' : typed
}

/**
 * A word of the command line for messages: `name=...`. A word that is not a valid option or parameter may be an option that
 * is misspelt, and its value a passphrase.
 */
export function wordToShow(word: string): string {
  const at = word.indexOf('=')
  return nameToShow(at === -1 ? word : `${word.slice(0, at + 1)}...`)
}

/** A written name for messages: text after the name of a secret option without a separator may be its value. */
export function nameToShow(name: string): string {
  secretNames ??= new RegExp(
    `(${optionNames
      .filter((option) => optionRow(option).secret === true)
      .map((option) => option.slice((groupOf(option) ?? '').length).replace(/^-/, ''))
      .sort((a, b) => b.length - a.length)
      .join('|')})[^-=\\s].*`,
    'is',
  )
  return name.replace(secretNames, '$1...')
}

let secretNames: RegExp | undefined
