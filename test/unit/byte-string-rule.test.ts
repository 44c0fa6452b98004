import { ESLint } from 'eslint'
import { expect, test } from 'vitest'
import { asBytes, bytes, bytesToText } from '../../src/util/byte-string.ts'
import { PgtsError } from '../../src/util/error.ts'
import { silentLogger } from '../../src/util/log.ts'

/** The rule needs the types of a file of the program: the code replaces the text of this one. */
const FILE = 'src/util/every.ts'

const HEAD = `
import { asBytes, bytes, bytesToText, pathOf, type ByteString } from './byte-string.ts'
declare const name: ByteString
declare const maybe: ByteString | undefined
declare const names: readonly ByteString[]
declare const text: string
export const use: unknown[] = [asBytes, bytes, bytesToText, pathOf, name, maybe, names, text]
`

const eslint = new ESLint({ ruleFilter: ({ ruleId }) => ruleId === 'pgts/byte-strings' })

async function refusals(code: string): Promise<string[]> {
  const [result] = await eslint.lintText(`${HEAD}export const value: unknown = ${code}\n`, { filePath: FILE })
  return result!.messages.map(({ ruleId, messageId }) => `${ruleId} ${messageId}`)
}

test('a byte string that is printed raw is a lint error', async () => {
  for (const code of [
    'new Error(`cannot read ${name}`)',
    '`cannot read ${maybe}`',
    "'cannot read ' + name",
    "names.join(', ')",
    'String(name)',
    '`${name.slice(1)}`',
    "`${name.split('/')[0]}`",
  ])
    expect([code, await refusals(code)]).toEqual([code, ['pgts/byte-strings raw']])
}, 120_000)

test('a plain string where a byte string is expected is a lint error', async () => {
  expect(await refusals('pathOf(text)')).toEqual(['pgts/byte-strings undeclared'])
  expect(await refusals('bytesToText(`${text}/x`)')).toEqual(['pgts/byte-strings undeclared'])
}, 120_000)

test('a byte string that is converted, or part of a byte string, is no lint error', async () => {
  for (const code of [
    '`cannot read ${bytesToText(name)}`',
    'pathOf(bytes`${name}/x`)',
    "pathOf(asBytes('/x'))",
    'pathOf(name)',
  ])
    expect([code, await refusals(code)]).toEqual([code, []])
}, 120_000)

test('a byte string that is a message does not compile', () => {
  const name = asBytes('d\xc3\xbc')
  // @ts-expect-error a message is text
  expect(new PgtsError('assert', name).message).toBe('d\xc3\xbc')
  // @ts-expect-error a message is text
  silentLogger.info(name)
  expect(new PgtsError('assert', `cannot read ${bytesToText(bytes`/x/${name}`)}`).message).toBe('cannot read /x/dü')
})
