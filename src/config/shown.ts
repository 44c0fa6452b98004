import { groupOf, optionNames, optionRow, type OptionName } from './option-table.ts'

/** A value as people may see it. */
export function textToShow(option: OptionName, typed: string): string {
  return optionRow(option).secret === true ? '<redacted>' : typed
}

/**
 * A word of the command line as people may see it: `name=...`. What looks like no option or parameter may be an option that
 * was misspelt, and its value a passphrase.
 */
export function wordToShow(word: string): string {
  const at = word.indexOf('=')
  return nameToShow(at === -1 ? word : `${word.slice(0, at + 1)}...`)
}

/** A name as it was written: what follows the name of a secret option without a separator may be its value. */
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
