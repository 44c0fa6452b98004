import { html, type Markup } from './markup.ts'
import type { Scale } from './scale.ts'

/** Coordinates of all plots; the picture scales with the page. */
export const PLOT = { width: 960, left: 76, right: 944 } as const

export interface LegendEntry {
  readonly kind: string
  readonly text: string
}

export interface Table {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

export interface Figure {
  /** Unique on the page. */
  readonly id: string
  readonly title: string
  /** What the plot shows, in a sentence, for those who cannot see it. */
  readonly description: string
  /** Coordinates of the lower end of the plot; the labels of the time axis are below. */
  readonly bottom: number
  readonly x?: Scale
  readonly y?: Scale
  readonly marks: readonly Markup[]
  readonly legend?: readonly LegendEntry[]
  readonly table: Table
}

/** A plot with its axes, and its values as a table. */
export function figure({ id, title, description, bottom, x, y, marks, legend = [], table }: Figure): Markup {
  return html`<figure id="${id}">
    <figcaption>
      <h3>${title}</h3>
      ${legend.length === 0 ? undefined : html`<p class="legend">${legend.map(legendEntry)}</p>`}
    </figcaption>
    <div class="plot">
      <svg viewBox="0 0 ${PLOT.width} ${bottom + 26}" role="img" aria-labelledby="${id}-title ${id}-text">
        <title id="${id}-title">${title}</title>
        <desc id="${id}-text">${description}</desc>
        ${y === undefined ? undefined : rows(y)}${x === undefined ? undefined : columns(x, bottom)}
        <g class="marks">${marks}</g>
      </svg>
    </div>
    <details>
      <summary>${table.rows.length} ${table.rows.length === 1 ? 'row' : 'rows'} as a table</summary>
      ${tableOf(table, title)}
    </details>
  </figure>`
}

function legendEntry({ kind, text }: LegendEntry): Markup {
  return html`<span><svg width="14" height="14" aria-hidden="true">${marker(kind, 7, 7, 5)}</svg>${text}</span>`
}

export function tableOf({ columns: names, rows: lines }: Table, caption: string): Markup {
  return html`<div class="scroll">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${names.map((name) => html`<th scope="col">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${lines.map(
          (cells) =>
            html`<tr>
              ${cells.map((cell) => html`<td>${cell}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`
}

function rows(y: Scale): Markup[] {
  return y.ticks.map(
    ({ value, label }) =>
      html`<line class="grid" x1="${PLOT.left}" x2="${PLOT.right}" y1="${y.at(value)}" y2="${y.at(value)}" /><text
          class="tick"
          text-anchor="end"
          x="${PLOT.left - 8}"
          y="${y.at(value) + 4}"
          >${label}</text
        >`,
  )
}

function columns(x: Scale, bottom: number): Markup[] {
  return x.ticks.map(
    ({ value, label }) =>
      html`<line class="grid" x1="${x.at(value)}" x2="${x.at(value)}" y1="8" y2="${bottom}" /><text
          class="tick"
          text-anchor="middle"
          x="${x.at(value)}"
          y="${bottom + 18}"
          >${label}</text
        >`,
  )
}

/** A symbol: types differ in shape, not in colour alone. @param about shown when the pointer rests on it */
export function marker(kind: string, x: number, y: number, radius: number, about?: string): Markup {
  const title = about === undefined ? undefined : html`<title>${about}</title>`
  const r = radius
  if (kind === 'full') {
    return html`<rect class="mark full" x="${x - r}" y="${y - r}" width="${2 * r}" height="${2 * r}">${title}</rect>`
  }
  if (kind === 'diff' || kind === 'failed') {
    const d = r * 1.25
    const points = `${x},${y - d} ${x + d},${y} ${x},${y + d} ${x - d},${y}`
    return html`<polygon class="mark ${kind}" points="${points}">${title}</polygon>`
  }
  if (kind === 'incr' || kind === 'passed')
    return html`<circle class="mark ${kind}" cx="${x}" cy="${y}" r="${r}">${title}</circle>`
  return html`<rect class="mark ${kind}" x="${x - r}" y="${y - r * 0.7}" width="${2 * r}" height="${r * 1.4}">
    ${title}
  </rect>`
}

export function bar(kind: string, box: { x: number; y: number; width: number; height: number }, about: string): Markup {
  const { x, y, width, height } = box
  return html`<rect class="mark ${kind}" x="${x}" y="${y}" width="${width}" height="${height}">
    <title>${about}</title>
  </rect>`
}
