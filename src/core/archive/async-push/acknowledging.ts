import { bytesToText } from '../../../util/byte-string.ts'
import { toPlainError } from '../../../util/error.ts'
import type { Logger } from '../../../util/log.ts'
import { writeOk, type SpoolPaths } from '../spool-files.ts'

/** A file that every repository has, durable. */
export interface Done {
  /** What PostgreSQL's log shall say of it. */
  readonly warning?: string
  /** Modification time of the file that was stored, ns. */
  readonly mtimeNs: bigint
}

/** Tells through the spool which files are safe. What the spool does not take (it is full) is told again later. */
export class Acknowledging {
  readonly #spool: SpoolPaths
  readonly #walPath: string
  readonly #log: Logger
  /** Pushed, but the spool did not take the `.ok` yet. */
  readonly #unwritten = new Map<string, Done>()
  #trouble: string | undefined

  constructor({ spool, walPath, log }: { readonly spool: SpoolPaths; readonly walPath: string; readonly log: Logger }) {
    this.#spool = spool
    this.#walPath = walPath
    this.#log = log
  }

  /** Why the spool takes nothing; undefined: it does. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  get isBehind(): boolean {
    return this.#unwritten.size > 0
  }

  /** @returns whether the spool took it */
  tell(name: string, done: Done): boolean {
    this.#unwritten.delete(name)
    try {
      writeOk(this.#spool, this.#spool.out, name, done)
      if (!this.isBehind) this.#trouble = undefined
      return true
    } catch (error) {
      this.#unwritten.set(name, done)
      const path = bytesToText(`${this.#spool.out}/${name}`)
      const why = `the spool does not take ${path}.ok: ${toPlainError(error).message}`
      if (this.#trouble === undefined)
        this.#log.warn(`${why}\nHINT: is the file system of spool-path full (${this.#walPath} fills meanwhile)?`)
      this.#trouble = why
      return false
    }
  }

  /** What the spool did not take when it was told. */
  waiting(): [string, Done][] {
    return [...this.#unwritten]
  }

  /** Nobody wants to hear of this file any more. */
  forget(name: string): void {
    this.#unwritten.delete(name)
    if (!this.isBehind) this.#trouble = undefined
  }
}
