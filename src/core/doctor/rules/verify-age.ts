import { ago } from '../../archive/status/diagnose.ts'
import { readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const verifyAge = defineRule({
  id: 'verify-age',
  area: 'repository',
  severity: 'warning',
  reports: 'verify has not read a backup for longer than doctor-verify-age; a notice if it has never run',
  why: 'a damaged file is noticed only when it is needed',
  needs: ['repositories'],
  check: ({ repositories }, site) =>
    readable(repositories).flatMap(({ key, stanza: { backups, verified } }) => {
      if (backups.length === 0) return []
      const next = [site.pgts('verify', `--repo=${key}`, '--output=text')]
      const limit = site.promised.verifyAgeMs
      const proven = (label: string) => verified.get(`backup/${label}`)?.provenMs
      if (backups.every(({ label }) => proven(label) === undefined)) {
        return [{ severity: 'notice' as const, repoKey: key, message: 'verify has never found a backup intact', next }]
      }
      const old = backups.filter(
        ({ label, timestampStop }) => site.nowMs - (proven(label) ?? timestampStop * 1000) > limit,
      )
      if (old.length === 0) return []
      const message = `verify has not read ${old.length} backup(s) for ${ago(limit)}, the oldest is ${old[0]!.label}`
      return [{ repoKey: key, message, next }]
    }),
})
