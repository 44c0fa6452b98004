import { ago } from '../../archive/status/diagnose.ts'
import { currentWindow, readable } from '../readable.ts'
import { defineRule } from '../rule.ts'

export const window = defineRule({
  id: 'window',
  area: 'backup',
  severity: 'error',
  reports: 'a repository cannot restore every point in time of the period doctor-window',
  why: 'the recovery that this site promises is not possible',
  needs: ['repositories'],
  check: ({ repositories }, site) => {
    const promised = site.promised.windowMs
    if (promised === undefined) return []
    const from = site.nowMs - promised
    return readable(repositories).flatMap((repository) => {
      const found = currentWindow(repository)
      const next = [site.pgts('info', `--repo=${repository.key}`)]
      const repoKey = repository.key
      if (found === undefined) return [{ repoKey, message: 'no recovery window is known', next }]
      const begins = found.from / 1000
      if (begins > from) {
        const message = `recovery is possible for the last ${ago(site.nowMs - begins)}; doctor-window is ${ago(promised)}`
        return [{ repoKey, message, next }]
      }
      const gaps = found.gaps.filter(({ to }) => to === undefined || to / 1000 > from)
      return gaps.length === 0 ? [] : [{ repoKey, message: `doctor-window has ${gaps.length} gap(s)`, next }]
    })
  },
})
