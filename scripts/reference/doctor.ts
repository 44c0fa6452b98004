import { AREAS } from '../../src/core/doctor/rule.ts'
import { doctorRules } from '../../src/core/doctor/rules.ts'

/** The page about the rules of doctor, from the list that it checks. */
export function doctorPage(): string {
  const sections = AREAS.flatMap((area) => [
    '',
    `## ${area}`,
    '',
    '| Rule | Severity | Reports that | Why it matters |',
    '|---|---|---|---|',
    ...doctorRules
      .filter((rule) => rule.area === area)
      .map(({ id, severity, reports, why }) => `| \`${id}\` | ${severity} | ${reports} | ${why} |`),
  ])
  return [
    '# Rules of doctor',
    '',
    '<!-- Generated from the tables in src/: npm run reference -->',
    '',
    'What `pgts doctor` reports; [the guide](../guide/doctor.md) explains how to use it. The names of rules do not change. What cannot be',
    'read has a finding of its own: `server-unreadable`, likewise `archiving`, `cluster`, `configuration`, `host`, `repositories` and `stores`.',
    ...sections,
    '',
  ].join('\n')
}
