/** One statement of a file for --sql. */
export interface SqlStatement {
  /** Of `\c NAME`; undefined: the default. */
  readonly database?: string
  /** The comment before it, else its beginning. */
  readonly title: string
  readonly text: string
  /** Of its first character, from 1. */
  readonly line: number
}

const MOST_TITLE = 60

/** What ends a piece of SQL in which a semicolon does not end the statement. */
const QUOTED =
  /'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?<tag>[A-Za-z_\u0080-\uffff]*)\$[^]*?\$\k<tag>\$|--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\//y
const ESCAPED = /[eE]'(?:[^'\\]|\\[^]|'')*'/y
const CONNECT = /\\c(?:onnect)?[ \t]+(?:"((?:[^"]|"")+)"|([^\s";]+))[ \t]*;?[ \t]*(?=\n|$)/y

/**
 * Splits a file into statements at semicolons, as psql does. The only command of psql is `\c DATABASE` at the begin of a line.
 *
 * @returns the line of the first thing that cannot be read, instead of the statements
 */
export function splitStatements(sql: string): readonly SqlStatement[] | { readonly invalidLine: number } {
  const statements: SqlStatement[] = []
  let database: string | undefined
  let comment: string | undefined
  let start: number | undefined
  let at = 0
  const lineAt = (position: number) => sql.slice(0, position).split('\n').length
  const end = () => {
    if (start === undefined) return
    const text = sql.slice(start, at).trim()
    statements.push({ database, title: shortened(comment ?? text), text, line: lineAt(start) })
    start = comment = undefined
  }
  while (at < sql.length) {
    const quoted = matchAt(ESCAPED, sql, at) ?? matchAt(QUOTED, sql, at)
    const isComment = quoted !== undefined && /^(--|\/\*)/.test(quoted[0])
    if (isComment) {
      if (start === undefined) comment = quoted[0].replace(/^--\s*|^\/\*\s*|\s*\*\/$/g, '')
    } else if (start === undefined && sql[at] === '\\') {
      const connect = matchAt(CONNECT, sql, at)
      if (connect === undefined) return { invalidLine: lineAt(at) }
      database = connect[1]?.replaceAll('""', '"') ?? connect[2]
      at += connect[0].length
      continue
    } else if (sql[at] === ';') {
      end()
    } else if (start === undefined && !/\s/.test(sql[at]!)) {
      start = at
    }
    at += quoted?.[0].length ?? 1
  }
  end()
  return statements
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(text) ?? undefined
}

/** In one line. */
function shortened(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  return line.length <= MOST_TITLE ? line : `${line.slice(0, MOST_TITLE - 3)}...`
}
