/** Text for a manual page: characters that roff would interpret are escaped, a dash is one that can be copied. */
export function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replace(/^\./gm, '\\&.')
}

export function bold(plain: string): string {
  return `\\fB${text(plain)}\\fR`
}

/** No date, so that the same sources make the same page. */
export function page(name: string, version: string, sections: readonly string[]): string {
  return `.TH ${text(name.toUpperCase())} 1 "" "pgts ${version}" "Manual of pgts"\n.nh\n.ad l\n${sections.join('')}`
}

/** @param source roff, complete lines */
export function section(title: string, source: string): string {
  return `.SH ${title}\n${source}`
}

export function subsection(title: string): string {
  return `.SS ${text(title)}\n`
}

export function paragraph(plain: string): string {
  return `.PP\n${text(plain)}\n`
}

/** @param term roff */
export function item(term: string, plain: string): string {
  return `.TP\n${term}\n${text(plain)}\n`
}

/** Lines of at most 78 characters, which are not divided. */
export function examples(lines: readonly string[]): string {
  return `.nf\n.in 2n\n${lines.map((line) => `${text(line)}\n`).join('')}.in\n.fi\n`
}
