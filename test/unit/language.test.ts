import { readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** Words that hide which component acts, or stand for something else. docs and comments say it plainly. */
const WORDS: Record<string, string> = {
  anew: 'again',
  anybody: 'name the component',
  'cut short': 'truncated',
  doomed: 'candidate',
  everybody: 'name the users or components',
  'for want of': 'because of missing',
  'goes with': 'is only valid for, requires',
  'counts only': 'is only valid for, requires',
  'hands? out': 'return',
  'hands? over': 'pass, return',
  'in hand': 'in flight, pending',
  'in vain': 'timeout, without result',
  innards: 'internals',
  landing: 'push result',
  meanwhile: 'at the same time',
  'mends?': 'repair',
  nobody: 'name the component',
  'on its way': 'in flight, pending',
  'put right': 'repair',
  shielded: 'protected',
  somebody: 'name the component',
  'stands? still': 'makes no progress',
  story: 'history, log',
  teller: 'status writer',
  'tells?': 'report, log, return',
  told: 'reported',
  'troubles?': 'retryable error, failure',
  'vouch(?:es)?': 'prove, check',
  whoever: 'name the component',
  witness: 'dependency',
}
const pattern = new RegExp(`\\b(?:${Object.keys(WORDS).join('|')})\\b`, 'i')

const AREAS = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'bin/pgts', 'docs', 'scripts', 'src', 'test']

/** Names in the interface of the program, of files and of users: they stay. */
const NAMES =
  /['`]trouble['`]|archiving: trouble|(?:archiving|repository)-trouble\.md|`nobody`|'nobody'|uid (?:65534|\$\{STRANGER\}) \(nobody\)/g

const root = fileURLToPath(new URL('../..', import.meta.url))

test.each(AREAS)('%s uses plain technical words', (area) => {
  expect(filesOf(area).flatMap((file) => findings(file, textIn(file)))).toEqual([])
})

function findings(file: string, text: string): string[] {
  return text.split('\n').flatMap((line, at) => {
    const found = pattern.exec(line.replaceAll(NAMES, ''))
    return found === null ? [] : [`${file}:${at + 1}: '${found[0]}' (say: ${replacementOf(found[0])}): ${line.trim()}`]
  })
}

function replacementOf(word: string): string {
  return Object.entries(WORDS).find(([key]) => new RegExp(`^(?:${key})$`, 'i').test(word))?.[1] ?? ''
}

function filesOf(area: string): string[] {
  if (statSync(`${root}/${area}`).isFile()) return [area]
  return readdirSync(`${root}/${area}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|md)$/.test(name))
    .map((name) => `${area}/${name}`)
    .filter((name) => name !== 'test/unit/language.test.ts')
}

/** Pages as they are; of TypeScript the comments, texts and test titles, each at its line. */
function textIn(file: string): string {
  const text = readFileSync(`${root}/${file}`, 'utf8')
  if (file.endsWith('.md')) return text
  const shown = /\/\/[^\n]*|\/\*[^]*?\*\/|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g
  const lines = text.split('\n').map(() => '')
  for (const match of text.matchAll(shown)) {
    const first = text.slice(0, match.index).split('\n').length - 1
    for (const [at, part] of match[0].split('\n').entries()) lines[first + at] += ` ${part}`
  }
  return lines.join('\n')
}
