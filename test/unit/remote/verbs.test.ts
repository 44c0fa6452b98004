import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Schema } from '../../../src/remote/fields.ts'

const root = new URL('../../../src/', import.meta.url)
const vector = new URL('../../vectors/wire/1/verbs.txt', import.meta.url)

interface AnyVerb {
  readonly name: string
  readonly body: string
  readonly request: Schema<never>
  readonly answer: Schema<never>
  readonly end?: Schema<never>
  readonly item?: Schema<never>
}

/** Every verb that a file of src/ exports. */
async function allVerbs(): Promise<AnyVerb[]> {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .filter((name) => /\b(call|upload|download|rows)Verb\(/.test(readFileSync(new URL(name, root), 'utf8')))
    .filter((name) => name !== 'remote/verb.ts')
  const modules = await Promise.all(files.map((name) => import(new URL(name, root).href) as Promise<object>))
  return modules
    .flatMap((module) => Object.values(module) as unknown[])
    .filter((value): value is AnyVerb => typeof value === 'object' && value !== null && 'request' in value)
}

function described({ name, body, request, answer, end, item }: AnyVerb): string {
  const parts = { request, answer, end, item }
  const lines = Object.entries(parts).flatMap(([part, schema]) =>
    schema === undefined ? [] : [`  ${part}: ${schema.shape}`],
  )
  return [`${name} (${body})`, ...lines, ''].join('\n')
}

/**
 * Numbers and types of all fields. Other releases send and expect them: a change needs a new protocol number, or no
 * release may have had the old ones. PGTS_TEST_WRITE_VERBS=1 writes the file.
 */
test('the verbs of protocol 1 have their fields', async () => {
  const text = (await allVerbs()).map(described).sort().join('\n')
  if (process.env['PGTS_TEST_WRITE_VERBS'] !== undefined) writeFileSync(vector, text)
  expect(text).toBe(readFileSync(vector, 'utf8'))
})
