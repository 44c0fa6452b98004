import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** What is drawn in each figure of a page. */
export interface DrawnFigure {
  readonly id: string
  /** Marks with an area that lies within their picture. */
  readonly visible: number
  readonly marks: number
  /** Texts that are wider than the page or cover each other. */
  readonly tableRows: number
}

const FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--virtual-time-budget=10000']

function chromium(dir: string, flags: readonly string[], url: string): string {
  const args = [...FLAGS, `--user-data-dir=${join(dir, 'profile')}`, ...flags, url]
  const { status, stdout, stderr } = spawnSync('chromium', args, { encoding: 'utf8', maxBuffer: 1 << 26 })
  if (status !== 0) throw new Error(`chromium ended with ${status}: ${stderr}`)
  return stdout
}

/** Lays the page out in a frame, whose policy allows no script, and measures its marks from outside. */
export function measureFigures(dir: string, page: string): DrawnFigure[] {
  const file = join(dir, 'measure.html')
  const quoted = page.replaceAll('&', '&amp;').replaceAll('"', '&quot;')
  writeFileSync(
    file,
    `<iframe width="1100" height="4000" srcdoc="${quoted}"></iframe><pre id="result"></pre><script>
    document.querySelector('iframe').onload = ({ target }) => {
      const figures = [...target.contentDocument.querySelectorAll('figure')].map((figure) => {
        const picture = figure.querySelector('.plot svg').getBoundingClientRect()
        const marks = [...figure.querySelectorAll('.plot .mark')]
        const isVisible = (mark) => {
          const { left, right, top, bottom } = mark.getBoundingClientRect()
          return right - left > 0 && bottom - top > 0 && left >= picture.left && right <= picture.right + 1
            && top >= picture.top && bottom <= picture.bottom
        }
        const tableRows = figure.querySelectorAll('tbody tr').length
        return { id: figure.id, marks: marks.length, visible: marks.filter(isVisible).length, tableRows }
      })
      document.querySelector('#result').textContent = JSON.stringify(figures)
    }</script>`,
  )
  const dom = chromium(dir, ['--dump-dom'], pathToFileURL(file).href)
  const json = /<pre id="result">([^<]*)<\/pre>/.exec(dom)?.[1] ?? ''
  return JSON.parse(json) as DrawnFigure[]
}

/** A picture of the top of the page. @returns the path of a PNG file */
export function screenshot(dir: string, page: string, scheme: 'light' | 'dark', height = 2400): string {
  const file = join(dir, 'page.html')
  const picture = join(dir, `${scheme}.png`)
  writeFileSync(file, page)
  const dark = scheme === 'dark' ? ['--force-dark-mode', '--blink-settings=preferredColorScheme=0'] : []
  chromium(dir, [...dark, `--screenshot=${picture}`, `--window-size=1100,${height}`], pathToFileURL(file).href)
  return picture
}
