import { reportTable, type ReportingCommand, type Reports } from './report-table.ts'

const WIDTH = 80

/**
 * The report of a command in the order of its table: one JSON object in one line, or one line for each member. `none` is the
 * default, because these commands print nothing when they succeed.
 */
export function renderReport<C extends ReportingCommand>(
  command: C,
  report: Reports[C],
  output: 'none' | 'text' | 'json',
): string | undefined {
  if (output === 'none') return undefined
  const members = Object.keys(reportTable[command]) as (keyof Reports[C] & string)[]
  const present = members.flatMap((name) => (report[name] === undefined ? [] : [[name, report[name]] as const]))
  if (output === 'json') return `${JSON.stringify(Object.fromEntries(present))}\n`
  return present.flatMap(([name, value]) => linesOf(wordsOf(name), value)).join('')
}

function linesOf(name: string, value: unknown): string[] {
  if (!Array.isArray(value)) return [fitted(`${name}: `, valueText(value))]
  if (value.length === 0) return [`${name}: none\n`]
  return value.map((one: unknown) => fitted(`${name}: `, valueText(one)))
}

function valueText(value: unknown): string {
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(valueText).join(' ')
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .filter(([, one]) => one !== undefined)
      .map(([name, one]) => `${wordsOf(name)} ${valueText(one)}`)
      .join(', ')
  }
  return String(value)
}

/** `repoSizeBytes` is shown as `repo size bytes`. */
function wordsOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

/** Breaks at spaces; further lines are indented. A path without spaces is not broken. */
function fitted(head: string, text: string): string {
  const lines = [head.trimEnd()]
  for (const word of text.split(' ')) {
    const line = lines.at(-1) ?? ''
    if (line.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(`    ${word}`)
  }
  return `${lines.join('\n')}\n`
}
