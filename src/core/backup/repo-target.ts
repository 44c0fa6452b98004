import type { PendingFile, StorageDriver } from '../../storage/driver.ts'
import type { ByteSink } from '../../util/bytes.ts'
import { markHandled } from '../../util/mark-handled.ts'

/** A repository file that is created with its first bytes, and counts them. Without `commit` it is discarded. */
export class RepoTarget implements ByteSink, AsyncDisposable {
  /** Bytes written so far: the offset of the next file in a bundle. */
  bytes = 0
  readonly #storage: StorageDriver
  readonly #name: string
  readonly #signal: AbortSignal
  #file: PendingFile | undefined

  constructor(storage: StorageDriver, name: string, signal: AbortSignal) {
    this.#storage = storage
    this.#name = name
    this.#signal = signal
  }

  write(chunk: Uint8Array): void | Promise<void> {
    this.bytes += chunk.length
    const file = this.#file
    return file === undefined ? this.#open().then(({ sink }) => sink.write(chunk)) : file.sink.write(chunk)
  }

  /** An empty file is created as well. */
  async commit(): Promise<void> {
    await (await this.#open()).commit({ deferSync: true })
  }

  async #open(): Promise<PendingFile> {
    // No manifest refers to this name before the backup is committed, and all directories are synced before that.
    return (this.#file ??= await this.#storage.create(this.#name, { unreferenced: true, signal: this.#signal }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.[Symbol.asyncDispose]()
  }
}

/** Commits files while the next are being copied. Files that are not committed when this is disposed are discarded. */
export class CommitQueue implements AsyncDisposable {
  readonly #targets: RepoTarget[] = []
  readonly #commits: Promise<void>[] = []

  own(target: RepoTarget): RepoTarget {
    this.#targets.push(target)
    return target
  }

  commit(target: RepoTarget): void {
    const commit = target.commit()
    // `drain` reports a failure; until then this avoids an unhandled rejection.
    markHandled(commit)
    this.#commits.push(commit)
  }

  async drain(): Promise<void> {
    await Promise.all(this.#commits)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#commits)
    for (const target of this.#targets) await target[Symbol.asyncDispose]()
  }
}
