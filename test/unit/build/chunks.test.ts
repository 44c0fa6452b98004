import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { projectRoot } from '../../support/postgres/postgres.ts'

test('every chunk ends with its exports, so that an empty or truncated one cannot be loaded', () => {
  const chunks = join(projectRoot, 'dist/chunks')
  const names = readdirSync(chunks).filter((name) => name.endsWith('.js'))
  expect(names.length).toBeGreaterThan(50)
  const end = /\nexport (\{[^{}]+\}|default \w+\(\));\n(\/\*[^]*?\*\/\n)?\/\/# sourceMappingURL=\S+\n$/
  expect(names.filter((name) => !end.test(readFileSync(join(chunks, name), 'utf8')))).toEqual([])
})
