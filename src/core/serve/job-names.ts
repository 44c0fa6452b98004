import type { PendingFile, StorageDriver } from '../../storage/driver.ts'
import { forwarding } from '../../storage/wrappers.ts'
import { bytesToText, type ByteString } from '../../util/byte-string.ts'
import { PgtsError } from '../../util/error.ts'
import type { CopyFilesJob } from '../backup/copy-job.ts'

/** Names of one job. */
interface Names {
  readonly create: ReadonlySet<string>
  readonly read: ReadonlySet<string>
  readonly remove: ReadonlySet<string>
}

/**
 * The repository for the host of the cluster while it runs jobs. That host is not trusted: it may only create the files of
 * the jobs in flight, read what these compare with, and remove what an interrupted backup left of their files.
 */
export class JobNames {
  /** Files of other names are refused with [105]. */
  readonly storage: StorageDriver
  readonly #held = new Set<Names>()

  constructor(storage: StorageDriver) {
    const refuse = (): Promise<never> =>
      Promise.reject(new PgtsError('access', 'this operation is not part of a backup job'))
    this.storage = forwarding(storage, {
      stat: refuse,
      async *list() {
        await refuse()
      },
      read: async (name, range) => {
        this.#assert('read', name)
        return storage.read(name, range)
      },
      create: async (name, options) => {
        this.#assert('create', name)
        return this.#watched(await storage.create(name, options), name)
      },
      remove: async (name, options) => {
        this.#assert('remove', name)
        return storage.remove(name, options)
      },
      createIfAbsent: undefined,
      removeFiles: undefined,
      removeTree: refuse,
      abortUploads: undefined,
      sync: refuse,
      links: undefined,
      // Its opener closes it.
      [Symbol.asyncDispose]: async () => undefined,
    })
  }

  /** Allow the names of this job until it has ended. */
  hold(job: CopyFilesJob): Disposable {
    const names = namesOf(job)
    this.#held.add(names)
    return { [Symbol.dispose]: () => void this.#held.delete(names) }
  }

  #assert(operation: keyof Names, name: ByteString | string): void {
    for (const names of this.#held) if (names[operation].has(name)) return
    throw new PgtsError(
      'access',
      `cannot ${operation} '${bytesToText(name as ByteString)}': it is not part of a backup job`,
    )
  }

  /** A file is not committed after its job has ended: the result of the job does not contain it. */
  #watched(file: PendingFile, name: string): PendingFile {
    return {
      sink: file.sink,
      commit: async (options) => {
        this.#assert('create', name)
        await file.commit(options)
      },
      [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
    }
  }
}

function namesOf({ files, bundle }: CopyFilesJob): Names {
  const create = new Set<string>(bundle === undefined ? [] : [bundle.repoName])
  const read = new Set<string>()
  const remove = new Set<string>()
  for (const { repoName, resumed, blocks } of files) {
    if (repoName !== undefined) {
      create.add(repoName)
      if (resumed !== undefined) for (const names of [read, remove]) names.add(repoName)
    }
    if (blocks?.prior !== undefined) read.add(blocks.prior.repoName)
  }
  return { create, read, remove }
}
