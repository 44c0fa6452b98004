import { STATUS, type InfoBackup } from '../../../core/info/report.ts'
import type { DrillRecord } from '../../../core/drill/record.ts'
import type { RecoverableWindow } from '../../../core/window/read.ts'
import type { RepositoryReport, SiteReport, StanzaReport } from '../../../core/report/report-data.ts'
import { bytesToText } from '../../../util/byte-string.ts'
import { formatSize } from '../../../util/format-size.ts'
import { zonedDateTime } from '../../../util/local-time.ts'
import { repoId } from '../../../util/repo-id.ts'
import { pgtsVersion } from '../../../util/version.ts'
import { endText, startText } from '../info-window-text.ts'
import { counted, duration } from '../result.ts'
import { added, durations, sizes, throughputs, walDays } from './charts.ts'
import { drillPlot } from './drills.ts'
import { findings } from './findings.ts'
import { html, Markup, type Markup as Html } from './markup.ts'
import { STYLE } from './style.ts'
import { timeline } from './timeline.ts'

/** Nothing is loaded from elsewhere, and no script runs. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'"

/** One HTML document that needs no other file. */
export function renderPage(report: SiteReport): string {
  const { createdSeconds, stanzas } = report
  const names = stanzas.map(({ info }) => bytesToText(info.name)).join(', ')
  return `<!doctype html>\n${
    html`<html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta http-equiv="Content-Security-Policy" content="${POLICY}" />
        <title>Backups of ${names === '' ? 'no stanza' : names}</title>
        <style>
          ${new Markup(STYLE)}
        </style>
      </head>
      <body>
        <header>
          <h1>Backups of ${names === '' ? 'no stanza' : names}</h1>
          <p class="quiet">As of ${zonedDateTime(createdSeconds)}, by pgts ${pgtsVersion}</p>
        </header>
        <main>
          ${
            stanzas.length === 0
              ? html`<p>No repository has a stanza: <code>pgts stanza-create</code> creates one.</p>`
              : stanzas.map((stanza, index) => section(stanza, `s${index}`, createdSeconds))
          }
        </main>
      </body>
    </html>`.source
  }\n`
}

function section({ info, repositories, examined }: StanzaReport, id: string, now: number): Html {
  const { current, name, repos, status } = info
  return html`<section>
    <h2>Stanza ${bytesToText(name)}</h2>
    <p>
      ${current === undefined ? undefined : `PostgreSQL ${current.version}, system id ${String(current.systemId)}. `}Status:
      ${status.message}.
    </p>
    ${examined === undefined ? undefined : findings(examined)}
    ${repos.map(({ key, status: repoStatus }) => {
      const about = repositories.find(({ repoKey }) => repoKey === key)
      const backups = info.backups.filter(({ repoKey }) => repoKey === key)
      return html`<h3>${repoId(key)}</h3>
        ${
          repoStatus.code === STATUS.ok || repoStatus.code === STATUS.noBackup
            ? undefined
            : html`<p>${repoStatus.message}</p>`
        }
        ${tiles(info, backups, about, now)}${plots(`${id}r${key}`, info, backups, about, now)}`
    })}
  </section>`
}

function tiles(
  { archives }: StanzaReport['info'],
  backups: readonly InfoBackup[],
  about: RepositoryReport | undefined,
  now: number,
): Html {
  const last = backups.at(-1)
  const windows = archives.filter(({ repoKey }) => repoKey === about?.repoKey).map(({ window }) => window)
  const window = windows.findLast((one) => one !== undefined)
  const stored = backups.reduce((sum, { repoSizeDeltaBytes }) => sum + repoSizeDeltaBytes, 0)
  const wal = about?.wal ?? []
  const walStored = wal.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return html`<dl>
    ${
      last === undefined
        ? tile('Last backup', 'none', 'no backup can be restored', false)
        : tile('Last backup', `${duration((now - last.timestampStop) * 1000)} ago`, last.label, last.error !== true)
    }
    ${windowTile(window)} ${tile('Backups', counted(backups.length, 'backup'), `${formatSize(stored)} stored`)}
    ${tile('WAL', `${formatSize(walStored)} stored`, wal.length === 0 ? 'none' : `since ${wal[0]!.day}`)}
    ${drillTile(about?.drills.at(-1), now)}
  </dl>`
}

function windowTile(window: RecoverableWindow | undefined): Html {
  if (window === undefined) return tile('Recoverable window', 'unknown', 'no commit times are known')
  const { from, to, gaps } = window
  const gapText = gaps.length === 0 ? 'without gaps' : counted(gaps.length, 'gap')
  const detail = to === undefined ? 'no later commit is archived' : `to ${endText(to)}, ${gapText}`
  return tile('Recoverable window', `from ${startText(from)}`, detail, gaps.length === 0)
}

function drillTile(last: DrillRecord | undefined, now: number): Html {
  if (last === undefined) return tile('Last drill', 'none', 'no restore has been tried')
  const { result, startedMs, durations, problem } = last
  const age = duration(now * 1000 - startedMs)
  const detail = problem?.message ?? `restored and checked in ${duration(durations.totalMs)}`
  return tile('Last drill', `${result} ${age} ago`, detail, result === 'passed')
}

function tile(name: string, value: string, detail: string, isOk?: boolean): Html {
  return html`<div class="${isOk === undefined ? '' : isOk ? 'ok' : 'bad'}">
    <dt>${name}</dt>
    <dd>${value} <small>${detail}</small></dd>
  </div>`
}

function plots(
  id: string,
  { archives }: StanzaReport['info'],
  backups: readonly InfoBackup[],
  about: RepositoryReport | undefined,
  now: number,
): readonly Html[] {
  const { wal = [], drills = [] } = about ?? {}
  const ofRepo = archives.filter(({ repoKey }) => repoKey === about?.repoKey)
  return [
    ...(backups.length === 0
      ? []
      : [
          timeline(`${id}-timeline`, backups, ofRepo, now),
          sizes(`${id}-sizes`, backups, now),
          added(`${id}-added`, backups),
          durations(`${id}-durations`, backups, now),
          throughputs(`${id}-throughput`, backups, now),
        ]),
    ...(wal.length === 0 ? [] : [walDays(`${id}-wal`, wal)]),
    ...(drills.length === 0 ? [] : [drillPlot(`${id}-drills`, drills, now)]),
  ]
}
