import type { Examined, ShownFinding } from '../../../core/report/examined.ts'
import { zonedDateTime } from '../../../util/local-time.ts'
import { repoId } from '../../../util/repo-id.ts'
import { html, type Markup } from './markup.ts'

/** What doctor found, each with its reason and the next commands. */
export function findings({ findings: list, timeMs }: Examined): Markup {
  const when = zonedDateTime(Math.floor(timeMs / 1000))
  if (list.length === 0) return html`<p>No findings by <code>pgts doctor</code>, ${when}.</p>`
  return html`<h3>Findings by <code>pgts doctor</code>, ${when}</h3>
    <ul class="findings">
      ${list.map(item)}
    </ul>`
}

function item({ rule, severity, message, why, next, repoKey }: ShownFinding): Markup {
  const where = repoKey === undefined ? rule : `${rule}, ${repoId(repoKey)}`
  return html`<li class="${severity === 'notice' ? '' : 'bad'}">
    <strong>${severity}</strong> <span class="quiet">${where}</span>: ${message}
    <p class="quiet">${why}</p>
    ${next.length === 0 ? undefined : html`<pre>${next.join('\n')}</pre>`}
  </li>`
}
