/** Where the progress is shown. */
export interface PhaseDisplay {
  phase(name: string, total?: number, unit?: 'bytes' | 'directories'): void
  done(done: number): void
}

/**
 * Shows how much is removed: first the backups, by their stored bytes, then the directories of WAL, whose sizes nothing
 * lists. Object stores remove both at the same time.
 */
export class RemovalProgress {
  readonly #display: PhaseDisplay | undefined
  readonly #place: string
  #phase: 'none' | 'backups' | 'wal' = 'none'
  #backups = { total: 0, done: 0, left: 0 }
  #wal = { total: 0, done: 0 }

  /** @param place `repo1` */
  constructor(display: PhaseDisplay | undefined, place: string) {
    this.#display = display
    this.#place = place
  }

  /** @param sizes stored bytes of the backups to remove */
  beginBackups(sizes: readonly number[]): void {
    this.#backups = { total: sizes.reduce((sum, size) => sum + size, 0), done: 0, left: sizes.length }
    this.#show()
  }

  removedBackup(sizeBytes: number): void {
    this.#backups.done += sizeBytes
    this.#backups.left--
    this.#show()
  }

  addWal(directories: number): void {
    this.#wal.total += directories
    if (this.#phase === 'wal') this.#phase = 'none'
    this.#show()
  }

  removedWal(directories: number): void {
    this.#wal.done += directories
    this.#show()
  }

  #show(): void {
    const phase = this.#backups.left > 0 ? 'backups' : this.#wal.total > 0 ? 'wal' : 'none'
    if (phase === 'none') return
    if (phase !== this.#phase) {
      this.#phase = phase
      if (phase === 'backups') this.#display?.phase(`removing backups of ${this.#place}`, this.#backups.total, 'bytes')
      else this.#display?.phase(`removing WAL of ${this.#place}`, this.#wal.total, 'directories')
    }
    this.#display?.done(phase === 'backups' ? this.#backups.done : this.#wal.done)
  }
}
