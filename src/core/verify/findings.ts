import type { FaultyFile, Problem } from './report.ts'

/** Collects the faults of a repository as a whole. */
export class Problems {
  readonly all: Problem[] = []

  error(message: string): void {
    this.all.push({ level: 'error', message })
  }

  note(message: string): void {
    this.all.push({ level: 'note', message })
  }

  get hasErrors(): boolean {
    return this.all.some(({ level }) => level === 'error')
  }
}

export interface ReadPieces {
  readonly checked: number
  readonly faulty: readonly FaultyFile[]
}

/** Collects the results of reading by key of their part. */
export class Findings {
  readonly #byPart = new Map<string, { checked: number; faulty: FaultyFile[] }>()

  add(key: string, checked: number, faulty: readonly FaultyFile[]): void {
    const part = this.#byPart.get(key) ?? { checked: 0, faulty: [] }
    this.#byPart.set(key, part)
    part.checked += checked
    part.faulty.push(...faulty)
  }

  /** undefined if nothing of the backup was read in this run. */
  ofBackup(label: string): ReadPieces | undefined {
    return this.#byPart.get(`backup/${label}`)
  }

  ofArchive(archiveId: string): ReadPieces {
    const parts = [...this.#byPart].filter(([key]) => key.startsWith(`archive/${archiveId}/`)).map(([, part]) => part)
    return {
      checked: parts.reduce((sum, { checked }) => sum + checked, 0),
      faulty: parts.flatMap(({ faulty }) => faulty),
    }
  }
}
