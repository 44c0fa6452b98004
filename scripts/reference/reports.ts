import { reportTable } from '../../src/cli/render/report-table.ts'

/** The page about reports, from the table that renders them. */
export function reportsPage(): string {
  const sections = Object.entries(reportTable).flatMap(([command, meanings]) => [
    '',
    `## ${command}`,
    '',
    '| Member | Meaning |',
    '|---|---|',
    ...Object.entries(meanings).map(([name, meaning]) => `| \`${name}\` | ${meaning} |`),
  ])
  return [
    '# Reports of commands',
    '',
    '<!-- Generated from the tables in src/: npm run reference -->',
    '',
    'These commands print nothing when they succeed. `--output=json` prints one JSON object in one line, and moves the log lines to',
    'standard error; `--output=text` prints the same for people. Members are not renamed; new ones can be added. A failed command',
    'prints no report: its exit code and its error say what happened. `restore --dry-run`, `expire`, `info`, `verify`,',
    '`archive-status`, `lease`, `manifest` and `repo-ls` have forms of their own.',
    ...sections,
    '',
  ].join('\n')
}
