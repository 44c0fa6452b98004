import { ago } from '../../archive/status/diagnose.ts'
import type { Certificate } from '../facts.ts'
import { defineRule, type Found } from '../rule.ts'

const WARN_MS = 30 * 86_400_000
const ERROR_MS = 7 * 86_400_000

export const certificate = defineRule({
  id: 'certificate',
  area: 'security',
  severity: 'warning',
  reports: 'a certificate of a store, or of its CA file, ends within 30 days; an error within 7 days',
  why: 'from that moment on archiving and backups to this store fail',
  needs: ['stores'],
  check: ({ stores }, site) =>
    stores.flatMap(({ key, address, certificate: own, authorities }) => {
      const caFile = site.repos.find((repo) => repo.key === key)?.caFile
      const host = address.replace(/^\w+:\/\//, '')
      const show = `openssl s_client -connect ${host} -showcerts </dev/null | openssl x509 -noout -subject -enddate`
      return [
        ...(own === undefined ? [] : ending(own, site.nowMs, `of ${address}`, ['# renew it on the store', show])),
        ...authorities.flatMap((one) =>
          ending(one, site.nowMs, `in ${caFile ?? ''}`, [
            '# add its successor to the file',
            `openssl x509 -in ${caFile ?? ''} -noout -subject -enddate`,
          ]),
        ),
      ].map((found) => ({ repoKey: key, ...found }))
    }),
})

function ending({ subject, validToMs }: Certificate, nowMs: number, where: string, next: string[]): Found[] {
  const left = validToMs - nowMs
  if (left >= WARN_MS) return []
  const when = left <= 0 ? `has been invalid for ${ago(-left)}` : `ends in ${ago(left)}`
  return [
    { severity: left < ERROR_MS ? 'error' : 'warning', message: `certificate '${subject}' ${where} ${when}`, next },
  ]
}
