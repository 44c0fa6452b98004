import { reportTable } from '../../src/cli/render/report-table.ts'
import { commonMeanings, hookMeanings } from '../../src/core/hooks/hook-event.ts'

/** The page about reports, from the table that renders them. */
export function reportsPage(): string {
  return [
    '# Reports of commands',
    '',
    '<!-- Generated from the tables in src/: npm run reference -->',
    '',
    'These commands print nothing when they succeed. `--output=json` prints one JSON object in one line, and moves the log lines to',
    'standard error; `--output=text` prints the same for people. Members are not renamed; new ones can be added. A failed command',
    'prints no report: its exit code and its error say what happened. `restore --dry-run`, `expire`, `info`, `verify`,',
    '`archive-status`, `lease`, `manifest` and `repo-ls` have forms of their own. `doctor` prints its findings as text by default, and with',
    '`--output=json` one line for each stanza; its exit code is 104 when there are errors or warnings.',
    ...Object.entries(reportTable).flatMap(([command, meanings]) => section(command, meanings)),
    ...section('Events of hooks', commonMeanings),
    '',
    'What a [hook](../guide/hooks.md) reads from standard input: one JSON object in one line, with these members and those of the event.',
    ...Object.entries(hookMeanings).flatMap(([hook, meanings]) => section(`hook-${hook}`, meanings)),
    '',
  ].join('\n')
}

function section(title: string, meanings: Readonly<Record<string, string>>): string[] {
  const rows = Object.entries(meanings).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`)
  return ['', `## ${title}`, '', '| Member | Meaning |', '|---|---|', ...rows]
}
