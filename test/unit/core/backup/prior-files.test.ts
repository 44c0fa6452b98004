import { expect, test } from 'vitest'
import { PriorFiles } from '../../../../src/core/backup/prior-files.ts'
import { aFile } from '../../../support/builders/manifest.ts'

const names = Array.from({ length: 500 }, (_none, number) => `pg_data/base/1/${String(1000 + 2 * number)}`)
const files = names.map((name) => aFile(name))

test.each([
  ['in the order of names', (wanted: string[]) => wanted],
  ['in reverse order', (wanted: string[]) => wanted.toReversed()],
  ['with long gaps', (wanted: string[]) => wanted.filter((_name, index) => index % 150 === 0)],
  ['each twice', (wanted: string[]) => wanted.flatMap((name) => [name, name])],
  ['from both ends', (wanted: string[]) => wanted.map((_name, index) => wanted.at(index % 2 === 0 ? index : -index)!)],
])('finds files that are asked for %s', (_, order) => {
  const prior = new PriorFiles(files)
  for (const name of order(names)) {
    const index = names.indexOf(name)
    expect(prior.find(name)).toEqual({ index, file: files[index] })
  }
})

test('finds nothing for other names, before, between and after those of the list', () => {
  const prior = new PriorFiles(files)
  for (const name of [
    'a',
    names[0]!,
    `${names[0]!}_fsm`,
    `${names[250]!}_vm`,
    names[499]!,
    'z',
    'pg_data/base/1/1001',
  ]) {
    expect(prior.find(name)?.file.name).toBe(names.includes(name) ? name : undefined)
  }
  expect(new PriorFiles([]).find('a')).toBeUndefined()
})
