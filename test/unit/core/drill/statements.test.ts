import { expect, test } from 'vitest'
import { splitStatements } from '../../../../src/core/drill/statements.ts'

/** Statements as `line database title: text`. */
function split(sql: string): readonly string[] | { readonly invalidLine: number } {
  const statements = splitStatements(sql)
  if ('invalidLine' in statements) return statements
  return statements.map(({ line, database, title, text }) => `${line} ${database ?? '-'} ${title}: ${text}`)
}

test('takes the comment before a statement as its title, else its beginning', () => {
  expect(split('-- orders exist\nselect true;\n\nselect\n  1 = 1')).toEqual([
    '2 - orders exist: select true',
    '4 - select 1 = 1: select\n  1 = 1',
  ])
  expect(split('/* the books\n balance */ select true; select 2')).toEqual([
    '2 - the books balance: select true',
    '2 - select 2: select 2',
  ])
  const [long = ''] = split(`select ${'x'.repeat(100)}`) as string[]
  expect(long).toContain(`1 - select ${'x'.repeat(50)}...: select x`)
})

test.each([
  ["select ';'"],
  [`select ";" from "a;b"`],
  ["select 'it''s; fine'"],
  ["select E'\\';'"],
  ['select $$;$$'],
  ["select $tag$ $$ ; ' $tag$"],
  ['select 1 -- ; not here\n + 1'],
  ['select /* ; */ 1'],
])('does not end a statement at a semicolon in %s', (sql) => {
  expect(split(`${sql}; select 2`)).toEqual([
    expect.stringMatching(/^1 - /),
    expect.stringMatching(/^\d - select 2: select 2$/),
  ])
  expect(splitStatements(sql)).toMatchObject([{ text: sql }])
})

test('connects to another database from a line \\c on', () => {
  expect(split('select 1;\n\\c accounting\nselect 2;\n\\connect "my db";\nselect 3')).toEqual([
    '1 - select 1: select 1',
    '3 accounting select 2: select 2',
    '5 my db select 3: select 3',
  ])
})

test('reports the line of any other command of psql', () => {
  expect(split('select 1;\n\\! rm -rf /\n')).toEqual({ invalidLine: 2 })
  expect(split('\\c one two\nselect 1')).toEqual({ invalidLine: 1 })
})

test('finds no statement in comments and blanks', () => {
  expect(split('-- nothing\n ; ;; \n')).toEqual([])
})
