import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const filesIn = (folder: string) =>
  readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|md)$/.test(name))
    .map((name) => `${folder}/${name}`)
const places = (files: readonly string[], wrong: RegExp) =>
  files.flatMap((file) =>
    readFileSync(`${root}/${file}`, 'utf8')
      .split('\n')
      .flatMap((line, at) => (wrong.test(line) ? [`${file}:${at + 1}: ${line.trim()}`] : [])),
  )

test('no message in src has the article "a" before a value that can be incr', () => {
  const sources = [...filesIn('src'), 'bin/pgts']
  expect(sources.length).toBeGreaterThan(100)
  expect(places(sources, /\b[Aa]n? ['"(]?\$[{a-z]/)).toEqual([])
})

test('no page and no message contains "a incr"', () => {
  const pages = [...filesIn('docs'), ...filesIn('src'), 'bin/pgts', 'README.md', 'CHANGELOG.md']
  expect(places(pages, /\ba [`'"(]*(incr|archive|async|expire|info|annotate|object)\b/i)).toEqual([])
})
