import { optionRow, type OptionName } from './option-table.ts'

/** A value as people may see it. */
export function textToShow(option: OptionName, typed: string): string {
  return optionRow(option).secret === true ? '<redacted>' : typed
}
