import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { dirname } from 'node:path'
import { tableOfGoals } from './goals.ts'
import type { Row } from './rows.ts'
import type { Settings } from './settings.ts'

/** What every kind of run says first: how, and on what kind of machine. */
export function conditions({ codec, level, processMax, runs }: Settings): string {
  return `${codec} level ${level}, process-max ${processMax}, ${runs} runs each, ${cpus().length} cores, Node ${process.versions.node}, load ${load()}`
}

const load = () => loadavg()[0]!.toFixed(1)

/** Prints the rows beside their goals, and writes everything to the file of `--out`. */
export function report(rows: readonly Row[], settings: Settings, further: object): void {
  if (rows.length > 0) console.log(`\n${tableOfGoals(rows, settings)}`)
  mkdirSync(dirname(settings.out), { recursive: true })
  const result = { date: new Date().toISOString(), settings, ...further, rows }
  writeFileSync(settings.out, JSON.stringify(result, null, 2))
  console.log(`\nload at the end ${load()}; written to ${settings.out}`)
}
