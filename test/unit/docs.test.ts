import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const textOf = (path: string) => readFileSync(join(root, path), 'utf8')
const filesBelow = (folder: string, name: RegExp) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => name.test(path))
    .map((path) => `${folder}/${path}`)
const decisions = readdirSync(join(root, 'docs/decisions')).filter((name) => /^\d{4}-/.test(name))
const guidesForDevelopers = ['CONTRIBUTING.md', 'docs/architecture.md']
const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', ...filesBelow('docs', /\.md$/)]

test.each(guidesForDevelopers)('every path that %s names exists', (page) => {
  const paths = [...textOf(page).matchAll(/`((?:src|test|scripts|docs|bin|native)\/[\w./-]*)`/g)].map(
    ([, path]) => path!,
  )
  expect(paths.length).toBeGreaterThan(10)
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([])
})

test.each(guidesForDevelopers)('every function that %s names is declared in src', (page) => {
  const sources = filesBelow('src', /\.ts$/).map(textOf).join('\n')
  const names = [...textOf(page).matchAll(/`(\w+)\(\)`/g)].map(([, name]) => name!)
  expect(
    names.filter((name) => !new RegExp(`(function\\*?|async|readonly|^) ?\\b${name}\\(`, 'm').test(sources)),
  ).toEqual([])
})

test.each(pages)('every link of %s leads to a file of the repository', (page) => {
  const links = [...textOf(page).matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, link]) => link!)
  expect(links.filter((link) => !existsSync(join(root, dirname(page), link)))).toEqual([])
})

test('docs/decisions/README.md lists every decision', () => {
  const listed = [...textOf('docs/decisions/README.md').matchAll(/\]\((\d{4}-[\w-]+\.md)\)/g)].map(([, name]) => name)
  expect(listed).toEqual(decisions)
})

test.each(decisions)('decision %s has at most 80 lines', (name) => {
  expect(textOf(`docs/decisions/${name}`).trimEnd().split('\n').length).toBeLessThanOrEqual(80)
})
