import { defineRule } from '../rule.ts'

/** First day without support of each major version. @see https://www.postgresql.org/support/versioning/ */
const SUPPORT_ENDS: Readonly<Record<number, string>> = {
  10: '2022-11-10',
  11: '2023-11-09',
  12: '2024-11-21',
  13: '2025-11-13',
  14: '2026-11-12',
  15: '2027-11-11',
  16: '2028-11-09',
  17: '2029-11-08',
  18: '2030-11-14',
}

export const postgresVersion = defineRule({
  id: 'postgres-version',
  area: 'server',
  severity: 'notice',
  reports: 'the major version of PostgreSQL is no longer supported by its developers',
  why: 'bugs that lose data are no longer fixed in it',
  needs: ['server'],
  check: ({ server: { versionNum } }, { nowMs }) => {
    const major = Math.floor(versionNum / 10_000)
    const ends = SUPPORT_ENDS[major]
    const hasEnded = major < 10 || (ends !== undefined && nowMs >= Date.parse(ends))
    if (!hasEnded) return []
    return [
      {
        message: `PostgreSQL ${major} has been without support${ends === undefined ? '' : ` since ${ends}`}`,
        next: ['# upgrade with pg_upgrade, then run stanza-upgrade and take a full backup'],
      },
    ]
  },
})
